//! The lock on a log's directory: one opener at a time, and it says who it is.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::error::{Error, ErrorKind, Result};

const FILE_NAME: &str = "LOCK";

/// Held for as long as a log is open. The kernel lets go when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// # Errors
    /// `Locked`, naming the holder, when another log, of this process or another one, is open on `dir`;
    /// `ReadOnly` or `Io` when the file cannot be made.
    pub(super) fn take(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE_NAME);
        let failed =
            |error| Error::io("cannot take the lock of the log's directory", error).with("path", path.display());
        let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
        let mut file = options.open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(held_by_other(dir, &mut file)),
            Err(errno) => return Err(failed(errno.into())),
        }
        // A full disk must not keep anyone from opening what is there: the name of the holder is a courtesy.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "pegaflow lock 1\npid {}", std::process::id()));
        Ok(Self { file })
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing the file would leave the lock to a child that was forked, for as long as that lives.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

fn held_by_other(dir: &Path, file: &mut File) -> Error {
    let mut text = String::new();
    let _ = file.take(256).read_to_string(&mut text);
    let holder = text.lines().find_map(|line| line.strip_prefix("pid ")).unwrap_or("unknown").to_owned();
    let whose = if holder == std::process::id().to_string() { "this process" } else { "another process" };
    Error::new(ErrorKind::Locked, format!("{whose} has the log open; close it there, or use a sidecar to share it"))
        .with("path", dir.display())
        .with("holder_pid", holder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_opener_is_refused_and_told_who_holds_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let held = DirectoryLock::take(dir.path()).unwrap();
        let error = DirectoryLock::take(dir.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Locked);
        assert_eq!(error.get("holder_pid"), Some(std::process::id().to_string().as_str()));
        drop(held);
        DirectoryLock::take(dir.path()).unwrap();
    }
}
