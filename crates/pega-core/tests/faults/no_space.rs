//! A full file system, and a directory that cannot be written to: a clear error, reads go on, and writes resume.
//!
//! The file systems are mounted in a mount namespace of the test's own, so root or unprivileged user namespaces are
//! needed; without either a test says so and checks nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use pega_core::log::{Durability, OnFull};
use pega_core::{ErrorKind, Options, PegaEngine};

const MIB: usize = 1 << 20;

/// Runs the test `name` in a process that may mount file systems; false where the system lets nobody do that.
fn in_own_mounts(name: &str) -> bool {
    let unshare = |flags: &str| {
        let mut command = Command::new("unshare");
        command.args([flags, "--"]);
        command
    };
    let flags = ["-m", "-rm"].into_iter().find(|flags| unshare(flags).arg("true").status().is_ok_and(|s| s.success()));
    let Some(flags) = flags else {
        println!("{name}: not run, this system lets nobody mount file systems");
        return false;
    };
    let status = unshare(flags)
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env("PEGA_OWN_MOUNTS", "1")
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed");
    true
}

fn is_in_own_mounts() -> bool {
    std::env::var_os("PEGA_OWN_MOUNTS").is_some()
}

fn run(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).status().unwrap();
    assert!(status.success(), "{program} {args:?}");
}

fn small_file_system(size: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", dir.path().to_str().unwrap()]);
    dir
}

fn options(dir: &Path) -> Options {
    Options {
        memory_bytes: MIB as u64,
        disk_bytes: 256 << 20,
        segment_bytes: Some(MIB as u64),
        durability: Durability::Sync,
        ..Options::at(dir)
    }
}

fn value(i: u32) -> Vec<u8> {
    (0..100_000_u32).map(|j| (i * 31 + j * 7) as u8).collect()
}

/// Puts until an error comes; gives how many are held then, and the error.
fn put_until_refused(engine: &PegaEngine, from: u32) -> (u32, pega_core::Error) {
    for i in from..from + 100_000 {
        if let Err(error) = engine.put(&i.to_le_bytes(), &value(i)) {
            return (i, error);
        }
    }
    panic!("nothing was refused");
}

fn assert_holds(engine: &PegaEngine, range: std::ops::Range<u32>) {
    for i in range {
        assert!(engine.get(&i.to_le_bytes()).unwrap() == Some(value(i)), "value {i}");
    }
}

fn filler(dir: &Path) -> PathBuf {
    dir.join("someone else's file")
}

#[test]
fn a_full_file_system_refuses_writes_until_there_is_space() {
    in_own_mounts("no_space::full_file_system");
}

#[test]
#[ignore = "run by another test, in a mount namespace"]
fn full_file_system() {
    assert!(is_in_own_mounts());
    let disk = small_file_system("32m");
    std::fs::write(filler(disk.path()), vec![1; 20 * MIB]).unwrap();
    let engine = PegaEngine::open(options(&disk.path().join("log"))).unwrap();
    let (held, error) = put_until_refused(&engine, 0);
    assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
    assert_holds(&engine, 0..held);
    assert_eq!(engine.put(b"another", &value(1)).unwrap_err().kind(), ErrorKind::DiskFull);
    std::fs::remove_file(filler(disk.path())).unwrap();
    let (more, error) = put_until_refused(&engine, held);
    assert_eq!(error.kind(), ErrorKind::DiskFull, "{error}");
    assert_holds(&engine, 0..more);
    (0..more / 2).for_each(|i| assert!(engine.remove(&i.to_le_bytes()).unwrap_or(true)));
    engine.close().unwrap();
    let engine = PegaEngine::open(options(&disk.path().join("log"))).unwrap();
    assert_holds(&engine, more / 2..more);
    println!("a full disk: {held} puts, then DiskFull; with space {more}, then DiskFull; all there after reopening");
}

#[test]
fn a_cache_on_a_full_file_system_gives_up_its_oldest_values() {
    in_own_mounts("no_space::full_cache");
}

#[test]
#[ignore = "run by another test, in a mount namespace"]
fn full_cache() {
    assert!(is_in_own_mounts());
    let disk = small_file_system("16m");
    let on_full = Some(OnFull::Evict);
    let engine = PegaEngine::open(Options { on_full, ..options(&disk.path().join("log")) }).unwrap();
    for i in 0..600_u32 {
        engine.put(&i.to_le_bytes(), &value(i)).unwrap();
    }
    assert_holds(&engine, 540..600);
    assert!(engine.get(&0_u32.to_le_bytes()).unwrap().is_none());
    println!("a cache on a full disk: 600 puts of 100 kB on 16 MiB, {} kept", engine.len());
}

#[test]
fn a_directory_that_became_read_only_refuses_writes_until_it_is_not() {
    in_own_mounts("no_space::read_only_directory");
}

#[test]
#[ignore = "run by another test, in a mount namespace"]
fn read_only_directory() {
    assert!(is_in_own_mounts());
    let disk = small_file_system("64m");
    let log = disk.path().join("log");
    let path = log.to_str().unwrap();
    let engine = PegaEngine::open(options(&log)).unwrap();
    engine.put(b"before", b"1").unwrap();
    // Files that are open stay writable; what is refused is the next segment.
    run("mount", &["--bind", path, path]);
    run("mount", &["-o", "remount,ro,bind", path]);
    let (held, error) = put_until_refused(&engine, 0);
    assert_eq!(error.kind(), ErrorKind::ReadOnly, "{error}");
    assert_holds(&engine, 0..held);
    let closed = PegaEngine::open(options(&log)).err().unwrap();
    assert!([ErrorKind::ReadOnly, ErrorKind::Locked].contains(&closed.kind()), "{closed}");
    run("umount", &[path]);
    engine.put(b"after", b"2").unwrap();
    for i in held..held + 30 {
        engine.put(&i.to_le_bytes(), &value(i)).unwrap();
    }
    assert_holds(&engine, 0..held + 30);
    engine.close().unwrap();
    run("mount", &["--bind", path, path]);
    run("mount", &["-o", "remount,ro,bind", path]);
    assert_eq!(PegaEngine::open(options(&log)).err().unwrap().kind(), ErrorKind::ReadOnly);
    println!("a read-only directory: {held} puts, then ReadOnly; writable again, all there");
}
