//! The file that says that a directory is a log, of which version, and which one.

use std::fs::{self, File};
use std::io::{ErrorKind as Os, Write};
use std::path::Path;

use super::digest::{LogId, digest};
use super::header::{FORMAT_VERSION, check_version};
use super::segment::sync_dir;
use crate::error::{Error, Result};

const FILE_NAME: &str = "FORMAT";
const NEW_NAME: &str = "FORMAT.new";
const FIRST_LINE: &str = "pegaflow log";

/// What the file of a directory turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// The log has this identity.
    Known(LogId),
    /// There is a file, and it is damaged.
    Damaged,
    /// There is none.
    Missing,
}

/// # Errors
/// `UnsupportedFormat` for a log of another version; `Io`.
pub(super) fn read(dir: &Path) -> Result<Identity> {
    let path = dir.join(FILE_NAME);
    match fs::read(&path) {
        Ok(bytes) => parse(&bytes).map_err(|error| error.with("path", path.display())),
        Err(error) if error.kind() == Os::NotFound => Ok(Identity::Missing),
        Err(error) => {
            Err(Error::io("cannot read what a log's directory says of itself", error).with("path", path.display()))
        }
    }
}

/// Gives the directory its identity, so that it lasts.
///
/// # Errors
/// `DiskFull`, `ReadOnly`, `Io`.
pub(super) fn write(dir: &Path, id: LogId) -> Result<()> {
    let new = dir.join(NEW_NAME);
    let written = File::create(&new)
        .and_then(|mut file| file.write_all(render(id).as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&new, dir.join(FILE_NAME)))
        .and_then(|()| sync_dir(dir));
    written.map_err(|error| {
        let _ = fs::remove_file(&new);
        Error::io("cannot make the directory a log", error).with("path", dir.display())
    })
}

fn render(id: LogId) -> String {
    let hex: String = id.0.iter().map(|byte| format!("{byte:02x}")).collect();
    let body = format!("{FIRST_LINE}\nversion {FORMAT_VERSION}\nid {hex}\n");
    format!("{body}sum {:016x}\n", digest(body.as_bytes(), 0))
}

/// Reads the text; version first, so that a log of any version is told from a damaged file.
pub(super) fn parse(bytes: &[u8]) -> Result<Identity> {
    let Ok(text) = std::str::from_utf8(bytes) else { return Ok(Identity::Damaged) };
    let mut lines = text.lines();
    if lines.next() != Some(FIRST_LINE) {
        return Ok(Identity::Damaged);
    }
    let version = lines.next().and_then(|line| line.strip_prefix("version ")).and_then(|version| version.parse().ok());
    let Some(version) = version else { return Ok(Identity::Damaged) };
    check_version(version)?;
    let id = lines.next().and_then(|line| line.strip_prefix("id ")).and_then(parse_hex);
    Ok(id.filter(|id| render(*id) == text).map_or(Identity::Damaged, Identity::Known))
}

fn parse_hex(hex: &str) -> Option<LogId> {
    let mut id = [0; 16];
    if hex.len() != 32 || !hex.is_ascii() {
        return None;
    }
    for (byte, pair) in id.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(LogId(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use proptest::prelude::*;

    #[test]
    fn a_directory_keeps_its_identity() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path()).unwrap(), Identity::Missing);
        let id = LogId::random();
        write(dir.path(), id).unwrap();
        assert_eq!(read(dir.path()).unwrap(), Identity::Known(id));
    }

    #[test]
    fn another_version_is_refused() {
        for version in ["0", "2", "4000000000"] {
            let text = render(LogId([1; 16])).replace("version 1", &format!("version {version}"));
            assert_eq!(parse(text.as_bytes()).unwrap_err().kind(), ErrorKind::UnsupportedFormat);
        }
    }

    #[test]
    fn no_flipped_bit_gives_another_identity() {
        let id = LogId([0xA7; 16]);
        let text = render(id);
        for bit in 0..text.len() * 8 {
            let mut flipped = text.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(parse(&flipped), Ok(Identity::Known(other)) if other != id), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = parse(&bytes);
            let _ = parse(&[b"pegaflow log\nversion 1\nid ", &bytes[..]].concat());
        }
    }
}
