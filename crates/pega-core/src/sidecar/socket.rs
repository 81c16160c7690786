//! The socket file: one server for each path, and nobody but its user.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::error::{Error, ErrorKind, Result};

/// An exclusive lock on a file, held until dropped or until the process ends.
#[derive(Debug)]
pub struct FileLock {
    file: File,
}

impl FileLock {
    /// Takes the lock if nobody holds it; the file then names this process.
    ///
    /// # Errors
    /// `Locked`, naming the holder; `Io` and `ReadOnly` if the file cannot be opened.
    pub fn try_take(path: &Path) -> Result<Self> {
        let mut lock = Self { file: open(path)? };
        match rustix::fs::flock(&lock.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                lock.sign()
                    .map_err(|error| Error::io("cannot write a lock file", error).with("path", path.display()))?;
                Ok(lock)
            }
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                drop(lock.file.read_to_string(&mut holder));
                Err(Error::new(
                    ErrorKind::Locked,
                    "another process serves this socket; connect to it or choose another path",
                )
                .with("path", path.display())
                .with("holder_pid", holder.trim()))
            }
            Err(errno) => Err(Error::io("cannot lock a file", errno.into()).with("path", path.display())),
        }
    }

    /// Waits for the lock.
    ///
    /// # Errors
    /// `Io` and `ReadOnly` if the file cannot be opened or locked.
    pub fn take(path: &Path) -> Result<Self> {
        let mut lock = Self { file: open(path)? };
        loop {
            match rustix::fs::flock(&lock.file, FlockOperation::LockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(Error::io("cannot lock a file", errno.into()).with("path", path.display())),
            }
        }
        lock.sign().map_err(|error| Error::io("cannot write a lock file", error).with("path", path.display()))?;
        Ok(lock)
    }

    fn sign(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        write!(self.file, "{}", std::process::id())
    }
}

fn open(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| Error::io("cannot open a lock file", error).with("path", path.display()))
}

/// The path of the lock file beside a socket.
pub(super) fn beside(socket: &Path, suffix: &str) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// A listening socket that only this user may connect to.
///
/// The path stays locked until this is dropped, so that a server that is ending can stop to listen first and finish
/// its work before another takes its place.
#[derive(Debug)]
pub(super) struct Socket {
    listener: Option<UnixListener>,
    path: PathBuf,
    _lock: FileLock,
}

impl Socket {
    /// Takes the path, so that no other server can.
    pub(super) fn claim(path: &Path) -> Result<Self> {
        let lock = FileLock::try_take(&beside(path, ".lock"))?;
        Ok(Self { listener: None, path: path.to_owned(), _lock: lock })
    }

    /// Listens. What a server that died left at the path is replaced.
    pub(super) fn listen(&mut self) -> Result<()> {
        let failed = |error| Error::io("cannot listen on a socket", error).with("path", self.path.display());
        // The file gets its name only once its mode is set: nobody can connect in between.
        let unnamed = beside(&self.path, ".new");
        drop(std::fs::remove_file(&unnamed));
        let listener = UnixListener::bind(&unnamed).map_err(failed)?;
        std::fs::set_permissions(&unnamed, Permissions::from_mode(0o600)).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        std::fs::rename(&unnamed, &self.path).map_err(failed)?;
        self.listener = Some(listener);
        Ok(())
    }

    /// The listening socket, until [`Self::close`].
    pub(super) fn listener(&self) -> Option<&UnixListener> {
        self.listener.as_ref()
    }

    /// Stops to listen and removes the file.
    pub(super) fn close(&mut self) {
        if self.listener.take().is_some() {
            drop(std::fs::remove_file(&self.path));
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    fn listening(path: &Path) -> Socket {
        let mut socket = Socket::claim(path).unwrap();
        socket.listen().unwrap();
        socket
    }

    #[test]
    fn a_second_server_on_a_path_is_told_who_holds_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let _first = listening(&path);
        let error = Socket::claim(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Locked);
        assert_eq!(error.get("holder_pid"), Some(std::process::id().to_string().as_str()));
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn the_socket_is_for_its_user_alone_and_goes_with_the_server() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let socket = listening(&path);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        drop(UnixListener::bind(&path).unwrap());
        let _socket = listening(&path);
        UnixStream::connect(&path).unwrap();
    }
}
