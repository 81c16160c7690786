//! The thread that lets connections in, notices processes that died, and ends the server.

use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use super::connection;
use super::hub::Hub;
use crate::error::{Error, Result};
use crate::sidecar::socket::Socket;

/// How long to leave the system alone when it has no descriptor or thread left for a connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// Serves until asked to end or idle for too long; then drains, and flushes and closes the engine.
pub(super) fn serve(hub: &Arc<Hub>, mut socket: Socket, woken: &UnixStream) -> Result<()> {
    let watched = watch(hub, &socket, woken);
    socket.close();
    hub.drain();
    let closed = hub.engine.close();
    watched.and(closed)
}

fn watch(hub: &Arc<Hub>, socket: &Socket, woken: &UnixStream) -> Result<()> {
    let Some(listener) = socket.listener() else { return Ok(()) };
    loop {
        let idle_left = hub.idle_left();
        if idle_left == Some(Duration::ZERO) {
            return Ok(());
        }
        let processes = hub.processes();
        let mut watched = vec![PollFd::new(listener, PollFlags::IN), PollFd::new(woken, PollFlags::IN)];
        watched.extend(processes.iter().map(|(_, process)| PollFd::from_borrowed_fd(process.as_fd(), PollFlags::IN)));
        let timeout = idle_left.and_then(|left| Timespec::try_from(left + Duration::from_millis(1)).ok());
        match rustix::event::poll(&mut watched, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::io("cannot wait for connections", errno.into())),
        }
        let ready: Vec<bool> = watched.iter().map(|fd| !fd.revents().is_empty()).collect();
        if ready[1] && Hub::is_asked_to_end(woken) {
            return Ok(());
        }
        for ((number, _), died) in processes.iter().zip(&ready[2..]) {
            if *died {
                hub.cut(*number, Shutdown::Both);
            }
        }
        if ready[0] {
            let_in(hub, listener);
        }
    }
}

fn let_in(hub: &Arc<Hub>, listener: &UnixListener) {
    loop {
        match listener.accept() {
            Ok((socket, _)) => connection::start(hub, socket),
            Err(error) => match error.kind() {
                std::io::ErrorKind::WouldBlock => return,
                std::io::ErrorKind::Interrupted | std::io::ErrorKind::ConnectionAborted => {}
                _ => {
                    std::thread::sleep(EXHAUSTED_PAUSE);
                    return;
                }
            },
        }
    }
}
