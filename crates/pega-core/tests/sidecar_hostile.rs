//! Clients that break the protocol: each is closed with an error, and no other is touched.

#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pega_core::arena::Sharing;
use pega_core::sidecar::{Client, ServeOptions, Server};
use pega_core::{ErrorKind, Options, PegaEngine};
use proptest::prelude::*;
use tempfile::TempDir;

const HEADER_BYTES: usize = 16;
const FAILED: u8 = 1;
const VERSION: u32 = 2;

struct Sidecar {
    server: Server,
    path: PathBuf,
    _directory: TempDir,
}

fn sidecar() -> Sidecar {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let options = Options { memory_bytes: 4 << 20, sharing: Sharing::Shared, ..Options::default() };
    let server = Server::start(PegaEngine::open(options).unwrap(), ServeOptions::new(&path)).unwrap();
    Sidecar { server, path, _directory: directory }
}

impl Sidecar {
    fn figure(&self, name: &str) -> u64 {
        self.server.figures().into_iter().find(|(known, _)| known == name).unwrap().1
    }

    /// A connection that has not greeted.
    fn stranger(&self) -> UnixStream {
        let socket = UnixStream::connect(&self.path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    }

    /// A connection past its greeting.
    fn greeted(&self) -> UnixStream {
        let mut socket = self.stranger();
        socket.write_all(&frame(1, 0, &greeting(VERSION))).unwrap();
        assert_eq!(receive(&mut socket).unwrap().0, 0);
        socket
    }
}

fn frame(kind: u8, sequence: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_le_bytes().to_vec();
    bytes.extend([kind, 0, 0, 0]);
    bytes.extend(sequence.to_le_bytes());
    bytes.extend(payload);
    bytes
}

fn greeting(version: u32) -> Vec<u8> {
    [b"pegaflow", &version.to_le_bytes()[..], &[0]].concat()
}

/// The kind and the payload of the next frame.
fn receive(socket: &mut UnixStream) -> std::io::Result<(u8, Vec<u8>)> {
    let mut header = [0; HEADER_BYTES];
    socket.read_exact(&mut header)?;
    let mut payload = vec![0; u32::from_le_bytes(header[..4].try_into().unwrap()) as usize];
    socket.read_exact(&mut payload)?;
    Ok((header[4], payload))
}

/// Sends bytes that break the protocol and gives the error that the server closes with.
fn refusal(mut socket: UnixStream, bytes: &[u8]) -> String {
    socket.write_all(bytes).unwrap();
    let (kind, payload) = receive(&mut socket).unwrap();
    assert_eq!(kind, FAILED);
    let mut rest = Vec::new();
    assert!(matches!(socket.read_to_end(&mut rest), Ok(0) | Err(_)), "the server said more: {rest:?}");
    String::from_utf8_lossy(&payload).into_owned()
}

#[test]
fn a_stranger_is_turned_away_and_others_go_on() {
    let sidecar = sidecar();
    let client = Client::connect(&sidecar.path).unwrap();
    client.put(b"key", b"value", None).unwrap();
    assert!(refusal(sidecar.stranger(), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").contains("PROTOCOL"));
    assert!(refusal(sidecar.stranger(), &frame(1, 0, b"some other thing")).contains("not a greeting"));
    assert!(refusal(sidecar.stranger(), &frame(9, 0, b"")).contains("not a greeting"));
    assert_eq!(client.get(b"key").unwrap().unwrap(), b"value");
    assert_eq!(sidecar.figure("sidecar_protocol_violations_total"), 3);
}

#[test]
fn a_client_of_another_version_is_refused_by_name() {
    let sidecar = sidecar();
    assert!(refusal(sidecar.stranger(), &frame(1, 0, &greeting(VERSION + 1))).contains("UNSUPPORTED_FORMAT"));
}

#[test]
fn oversized_malformed_and_unordered_frames_close_their_client() {
    let sidecar = sidecar();
    let mut oversized = frame(9, 1, b"");
    oversized[..4].copy_from_slice(&(2_u32 << 20).to_le_bytes());
    let cases: [(&[u8], &str); 7] = [
        (&oversized, "oversized"),
        (&frame(9, 2, b""), "out of order"),
        (&frame(9, 0, b""), "out of order"),
        (&frame(99, 1, b""), "no known kind"),
        (&frame(1, 1, &greeting(VERSION)), "greeted once"),
        (&frame(9, 1, b"surplus"), "longer than its fields"),
        (&frame(2, 1, &[255, 255, 255, 255]), "longer than its frame"),
    ];
    for (bytes, reason) in cases {
        let said = refusal(sidecar.greeted(), bytes);
        assert!(said.contains(reason), "{said} does not say {reason}");
    }
}

#[test]
fn numbers_that_belong_to_nobody_close_their_client() {
    let sidecar = sidecar();
    let number = 77_u64.to_le_bytes();
    let one = [&1_u32.to_le_bytes()[..], &number].concat();
    for (kind, reason) in [(3, "not reserved"), (6, "not held"), (7, "not held")] {
        assert!(refusal(sidecar.greeted(), &frame(kind, 1, &one)).contains(reason));
    }
    // A commit of room that was never reserved.
    let adopt = [&[0, 0][..], &1_u32.to_le_bytes(), &[0], &1_u32.to_le_bytes(), b"k", &number, &[0; 32]].concat();
    assert!(refusal(sidecar.greeted(), &frame(4, 1, &adopt)).contains("not reserved"));
}

#[test]
fn a_client_cannot_commit_more_than_it_reserved() {
    let sidecar = sidecar();
    let mut socket = sidecar.greeted();
    socket.write_all(&frame(2, 1, &[&1_u32.to_le_bytes()[..], &100_u64.to_le_bytes()].concat())).unwrap();
    let (_, reserved) = receive(&mut socket).unwrap();
    let written = [&reserved[4..12], &0_u64.to_le_bytes(), &101_u64.to_le_bytes(), &[0; 16]].concat();
    let commit = [&[0, 0][..], &1_u32.to_le_bytes(), &[0], &1_u32.to_le_bytes(), b"k", &written].concat();
    assert!(refusal(socket, &frame(4, 2, &commit)).contains("outside its reservation"));
}

#[test]
fn a_value_committed_with_a_wrong_checksum_is_never_served() {
    let sidecar = sidecar();
    let client = Client::connect(&sidecar.path).unwrap();
    for size_bytes in [100_u64, 100_000] {
        let mut socket = sidecar.greeted();
        socket.write_all(&frame(2, 1, &[&1_u32.to_le_bytes()[..], &size_bytes.to_le_bytes()].concat())).unwrap();
        let (_, reserved) = receive(&mut socket).unwrap();
        let wrong = [&reserved[4..12], &0_u64.to_le_bytes(), &size_bytes.to_le_bytes(), &[7; 8], &[0; 8]].concat();
        let commit = [&[0, 0][..], &1_u32.to_le_bytes(), &[0], &1_u32.to_le_bytes(), b"k", &wrong].concat();
        socket.write_all(&frame(4, 2, &commit)).unwrap();
        assert_eq!(receive(&mut socket).unwrap().0, 0);
        assert_eq!(client.get(b"k").unwrap_err().kind(), ErrorKind::Corrupt);
        assert!(client.get(b"k").unwrap().is_none(), "a corrupt value is dropped");
    }
    assert_eq!(sidecar.figure("corruptions"), 2);
}

#[test]
fn a_client_that_sends_half_a_frame_and_waits_holds_nobody_up() {
    let sidecar = sidecar();
    let mut silent = sidecar.greeted();
    silent.write_all(&frame(9, 1, b"")[..10]).unwrap();
    let client = Client::connect(&sidecar.path).unwrap();
    let begun = Instant::now();
    client.put(b"key", b"value", None).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_stranger_that_says_nothing_is_closed() {
    let sidecar = sidecar();
    assert!(refusal(sidecar.stranger(), b"").contains("TIMED_OUT"));
}

#[test]
fn a_client_that_never_reads_holds_nobody_up() {
    let sidecar = sidecar();
    let mut deaf = sidecar.greeted();
    deaf.set_nonblocking(true).unwrap();
    for sequence in 1.. {
        if deaf.write_all(&frame(11, sequence, b"")).is_err() {
            break;
        }
    }
    let client = Client::connect(&sidecar.path).unwrap();
    client.put(b"key", b"value", None).unwrap();
    assert_eq!(client.get(b"key").unwrap().unwrap(), b"value");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn random_frames_never_take_the_server_down(
        frames in prop::collection::vec((0..20_u8, prop::collection::vec(any::<u8>(), 0..60)), 1..40),
    ) {
        let sidecar = sidecar();
        let client = Client::connect(&sidecar.path).unwrap();
        client.put(b"key", b"value", None).unwrap();
        for (kind, payload) in frames {
            let mut socket = sidecar.greeted();
            socket.write_all(&frame(kind, 1, &payload)).unwrap();
            socket.shutdown(std::net::Shutdown::Write).unwrap();
            let mut said = Vec::new();
            let _ = socket.read_to_end(&mut said);
        }
        prop_assert_eq!(client.get(b"key").unwrap().unwrap(), b"value");
    }
}
