//! Writes and syncs that the operating system refuses, by putting `/dev/full` in the place of an open segment file.

use std::fs::OpenOptions;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::table::Table;
use crate::error::ErrorKind;
use crate::log::{Durability, FileIo, LogOptions};

fn options() -> LogOptions {
    LogOptions { durability: Durability::Sync, ..LogOptions::new(16 << 20) }
}

/// Another file in the place of a descriptor, until it is dropped.
struct Replaced {
    fd: RawFd,
    original: OwnedFd,
}

impl Replaced {
    fn by_full_device(fd: RawFd) -> Self {
        let full = OpenOptions::new().read(true).write(true).open("/dev/full").unwrap();
        // SAFETY: the log of the test keeps it open.
        let original = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned().unwrap();
        replace(full.as_raw_fd(), fd);
        Self { fd, original }
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        replace(self.original.as_raw_fd(), self.fd);
    }
}

/// Those of the first segment: what it is synced with, and what it is written past the page cache with.
fn descriptors(table: &Table) -> (RawFd, Option<RawFd>) {
    table.log.shared().segment(1).unwrap().file.descriptors()
}

fn replace(by: RawFd, fd: RawFd) {
    // SAFETY: both descriptors are open, and their owners only read, write and sync them.
    assert_eq!(unsafe { libc::dup2(by, fd) }, fd);
}

#[test]
fn writes_that_were_refused_for_want_of_space_are_made_up_for_when_there_is_some() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), LogOptions { file_io: FileIo::Buffered, ..options() }).unwrap();
    table.put(b"before", b"1").unwrap();
    let (segment, _) = descriptors(&table);
    let refused = Replaced::by_full_device(segment);
    for key in [b"refused", b"as well"] {
        assert_eq!(table.put(key, b"2").unwrap_err().kind(), ErrorKind::DiskFull);
    }
    drop(refused);
    while table.put(b"after", b"3").is_err() {
        std::thread::yield_now();
    }
    drop(table);
    let table = Table::open(dir.path(), options()).unwrap();
    assert_eq!(table.get(b"before").unwrap(), Some(b"1".to_vec()));
    assert_eq!(table.get(b"after").unwrap(), Some(b"3".to_vec()));
    assert_eq!(table.scanned_segments, 0, "closing wrote everything");
}

#[test]
fn after_a_sync_that_failed_nothing_is_written_until_the_log_is_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), options()).unwrap();
    table.put(b"before", b"1").unwrap();
    let (buffered, direct) = descriptors(&table);
    if direct.is_none() {
        println!("not run: this file system has no direct I/O, so a sync cannot fail alone");
        return;
    }
    let refused = Replaced::by_full_device(buffered);
    assert_eq!(table.put(b"unsure", b"2").unwrap_err().kind(), ErrorKind::Io);
    drop(refused);
    let error = table.put(b"after", b"3").unwrap_err();
    assert!(error.to_string().contains("open the log again"), "{error}");
    assert_eq!(table.get(b"before").unwrap(), Some(b"1".to_vec()));
    assert!(table.log.close().is_err());
    let table = Table::open(dir.path(), options()).unwrap();
    assert_eq!(table.get(b"before").unwrap(), Some(b"1".to_vec()));
    table.put(b"after", b"3").unwrap();
}
