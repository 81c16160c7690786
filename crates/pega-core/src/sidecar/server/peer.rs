//! The process at the other end of a socket.

use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::process::{Pid, PidfdFlags};

/// A descriptor that becomes readable when the process at the other end is gone.
///
/// A socket alone does not tell: a child that the process forked keeps its copy open. Nothing is given where the
/// system does not say which process it is, as across pid namespaces; the socket's end has to do then.
pub(super) fn watch(socket: &UnixStream) -> Option<OwnedFd> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut size_bytes = libc::socklen_t::try_from(size_of::<libc::ucred>()).ok()?;
    // SAFETY: the pointers are to a `ucred` and to its size, which is what this option writes.
    let status = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut size_bytes,
        )
    };
    if status != 0 {
        return None;
    }
    let pid = Pid::from_raw(credentials.pid)?;
    rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()
}
