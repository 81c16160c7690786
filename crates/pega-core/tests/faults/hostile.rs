//! Keys, sizes and limits that nobody should give, and directories that somebody else has.

use std::process::{Command, Stdio};

use pega_core::{ErrorKind, MAX_KEY_BYTES, Options, PegaEngine, PutOptions};

fn options(dir: &std::path::Path) -> Options {
    Options { memory_bytes: 1 << 20, disk_bytes: 1 << 20, ..Options::at(dir) }
}

#[test]
fn no_key_or_value_is_taken_that_could_not_be_given_back() {
    let dir = tempfile::tempdir().unwrap();
    let engine = PegaEngine::open(options(dir.path())).unwrap();
    engine.put(b"here", b"before").unwrap();
    for key in [&[][..], &[0; MAX_KEY_BYTES + 1], &[255; 1 << 20]] {
        assert_eq!(engine.put(key, b"1").unwrap_err().kind(), ErrorKind::InvalidKey);
        assert_eq!(engine.get(key).unwrap_err().kind(), ErrorKind::InvalidKey);
        assert_eq!(engine.remove(key).unwrap_err().kind(), ErrorKind::InvalidKey);
    }
    assert_eq!(engine.put(b"huge", &vec![0; 64 << 20]).unwrap_err().kind(), ErrorKind::TooLarge);
    let mut transaction = engine.transaction();
    let half = vec![1; 700 << 10];
    transaction.put(b"a", &half, PutOptions::default()).unwrap();
    transaction.put(b"b", &half, PutOptions::default()).unwrap();
    assert_eq!(transaction.commit().unwrap_err().kind(), ErrorKind::TooLarge);
    for key in [&[0][..], &[0; MAX_KEY_BYTES], "\u{0}\n/../".as_bytes()] {
        engine.put(key, key).unwrap();
        assert_eq!(engine.get(key).unwrap().as_deref(), Some(key));
    }
    assert_eq!(engine.len(), 4, "what was refused left nothing");
    assert_eq!(engine.get(b"here").unwrap(), Some(b"before".to_vec()));
}

#[test]
fn limits_that_leave_no_room_are_refused_before_anything_is_made() {
    for disk_bytes in [0, 1, 4096, u64::MAX] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let error = PegaEngine::open(Options { disk_bytes, ..options(&path) }).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{disk_bytes}");
        assert!(!path.exists());
    }
    for memory_bytes in [0, 1, u64::MAX] {
        let error = PegaEngine::open(Options { memory_bytes, ..Options::default() }).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{memory_bytes}");
    }
}

#[test]
fn a_path_that_is_no_directory_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a file");
    std::fs::write(&file, "text").unwrap();
    assert_eq!(PegaEngine::open(options(&file)).err().unwrap().kind(), ErrorKind::Io);
    assert_eq!(std::fs::read(&file).unwrap(), b"text");
}

#[test]
#[ignore = "the process that another test lets hold the directory"]
fn the_holder() {
    let Some(dir) = std::env::var_os("PEGA_FAULT_HELD") else { return };
    let _engine = PegaEngine::open(options(dir.as_ref())).unwrap();
    println!("\nheld");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
}

#[test]
fn an_engine_open_in_another_process_is_refused_naming_it_until_it_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "hostile::the_holder", "--ignored", "--nocapture"])
        .env("PEGA_FAULT_HELD", dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(holder.stdout.take().unwrap()));
    assert!(lines.map_while(Result::ok).any(|line| line == "held"));
    let error = PegaEngine::open(options(dir.path())).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert_eq!(error.get("holder_pid"), Some(holder.id().to_string().as_str()), "{error}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    PegaEngine::open(options(dir.path())).unwrap().put(b"a", b"1").unwrap();
}
