//! The parsers of bytes from the socket, as fuzz targets and property tests reach them.

use super::frame::split;
use super::reply::{Changed, Committed, DONE, FAILED, Greeting, Leased, Numbered, Room, decode, read_error};
use super::request::Request;
use crate::cache::CacheStats;
use crate::error::Result;

/// Reads `bytes` as a server does and gives how many requests they hold before they end or break the protocol.
pub fn requests(bytes: &[u8]) -> (usize, Result<()>) {
    let mut count = 0;
    let mut rest = bytes;
    loop {
        match split(rest) {
            Ok(None) => return (count, Ok(())),
            Err(error) => return (count, Err(error)),
            Ok(Some((header, payload, size_bytes))) => {
                if let Err(error) = Request::decode(header.kind, payload) {
                    return (count, Err(error));
                }
                rest = &rest[size_bytes..];
                count += 1;
            }
        }
    }
}

/// Reads `bytes` as a client does that might expect any reply; whether they were one of them.
pub fn reply(bytes: &[u8]) -> bool {
    let Ok(Some((header, payload, _))) = split(bytes) else { return false };
    match header.kind {
        FAILED => read_error(payload).is_ok(),
        DONE => {
            decode::<Greeting>(payload).is_ok()
                | decode::<Committed>(payload).is_ok()
                | decode::<Leased>(payload).is_ok()
                | decode::<Vec<Room>>(payload).is_ok()
                | decode::<CacheStats>(payload).is_ok()
                | decode::<Vec<Changed>>(payload).is_ok()
                | decode::<Vec<Option<Numbered>>>(payload).is_ok()
                | decode::<Vec<(String, u64)>>(payload).is_ok()
        }
        _ => false,
    }
}

/// Encodes a request as the payload of a frame.
#[cfg(test)]
fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut writer = super::codec::Writer::default();
    request.encode(&mut writer);
    writer.into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::cache_request::{CacheRequest, PackedHashes};
    use super::super::frame::Header;
    use super::super::request::{Change, Written};
    use super::*;

    fn numbers() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(any::<u64>(), 0..20)
    }

    fn written() -> impl Strategy<Value = Written> {
        any::<[u64; 4]>().prop_map(|[reservation, start, size_bytes, checksum]| Written {
            reservation,
            start,
            size_bytes,
            checksum,
        })
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = requests(&bytes);
            let _ = reply(&bytes);
        }

        #[test]
        fn no_payload_of_a_known_kind_makes_a_parser_panic(
            kind in 0..20_u8,
            payload in prop::collection::vec(prop_oneof![3 => Just(0_u8), 1 => Just(16), 1 => any::<u8>()], 0..200),
        ) {
            let mut bytes = Header { payload_bytes: payload.len(), kind, sequence: 0 }.encode().to_vec();
            bytes.extend(payload);
            let _ = requests(&bytes);
            let _ = reply(&bytes);
        }

        #[test]
        fn requests_read_back_as_they_were_written(
            numbers in numbers(),
            key in prop::collection::vec(any::<u8>(), 0..100),
            written in prop::collection::vec(written(), 0..5),
            flags in any::<[bool; 2]>(),
        ) {
            let changes = written.iter().map(|written| Change::Adopt { key: &key, written: *written, ttl_ms: 7 });
            let hashes = PackedHashes { hash_bytes: 16, packed: &[3; 64] };
            let requests = [
                Request::Reserve { sizes_bytes: numbers.clone() },
                Request::Drop { pins: numbers },
                Request::Commit { atomic: flags[0], renew: flags[1], changes: changes.collect() },
                Request::Locate { hold_from_bytes: 9, keys: vec![&key, &key] },
                Request::Cache { namespace: "model", ask: CacheRequest::Store { hashes, written } },
                Request::Cache { namespace: "", ask: CacheRequest::Reserve { hashes, block_bytes: 9 } },
            ];
            for request in requests {
                let payload = encoded(&request);
                prop_assert_eq!(Request::decode(request.kind(), &payload).unwrap(), request);
            }
        }

        #[test]
        fn a_request_cut_short_is_an_error(numbers in numbers(), cut in 1..8_usize) {
            let request = Request::Return { reservations: numbers };
            let payload = encoded(&request);
            let short = &payload[..payload.len().saturating_sub(cut)];
            prop_assert!(Request::decode(request.kind(), short).is_err());
        }
    }
}
