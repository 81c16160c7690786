//! Background work: a few threads that do what would keep a caller waiting.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Result};

type Task = Box<dyn FnOnce() + Send>;

/// Threads for loads and stores. More than the disk and the memory of a small machine can feed; few enough to idle.
const THREADS: usize = 4;

/// Some threads that take tasks in order. They start with the first task and end when the pool is dropped and what
/// was asked of it is done.
pub struct Pool {
    sender: Mutex<Option<Sender<Task>>>,
    name: &'static str,
    threads: usize,
}

impl Pool {
    /// A pool whose threads are called `name`.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self { sender: Mutex::new(None), name, threads: THREADS }
    }

    fn sender(&self) -> Result<Sender<Task>> {
        let mut sender = self.sender.lock();
        if let Some(sender) = &*sender {
            return Ok(sender.clone());
        }
        let (new, receiver) = unbounded::<Task>();
        for _ in 0..self.threads {
            let receiver: Receiver<Task> = receiver.clone();
            thread::Builder::new()
                .name(self.name.to_owned())
                .spawn(move || receiver.iter().for_each(|task| task()))
                .map_err(|error| Error::io("cannot start a thread for background work", error))?;
        }
        *sender = Some(new.clone());
        Ok(new)
    }

    /// Has `work` done by one of the threads.
    ///
    /// # Errors
    /// `Io` if no thread can be started.
    pub fn submit<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<Job<T>> {
        let job = Job { shared: Arc::new(Shared { state: Mutex::new(State::Pending(None)), done: Condvar::new() }) };
        let shared = Arc::clone(&job.shared);
        let task: Task = Box::new(move || shared.finish(work()));
        let _ = self.sender()?.send(task);
        Ok(job)
    }
}

enum State<T> {
    Pending(Option<Task>),
    Done(T),
    Taken,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    done: Condvar,
}

impl<T> Shared<T> {
    fn finish(&self, outcome: T) {
        let before = std::mem::replace(&mut *self.state.lock(), State::Done(outcome));
        self.done.notify_all();
        if let State::Pending(Some(tell)) = before {
            tell();
        }
    }
}

/// Work under way. Dropping it leaves the work running.
pub struct Job<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Job<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T> Job<T> {
    /// A job that is done already.
    pub fn ready(outcome: T) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::new(State::Done(outcome)), done: Condvar::new() }) }
    }

    /// Whether the work is done.
    #[must_use]
    pub fn is_done(&self) -> bool {
        !matches!(*self.shared.state.lock(), State::Pending(_))
    }

    /// Waits until the work is done, or `timeout` has passed; says which.
    #[must_use]
    pub fn wait(&self, timeout: Option<Duration>) -> bool {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.shared.state.lock();
        while matches!(*state, State::Pending(_)) {
            match deadline {
                None => self.shared.done.wait(&mut state),
                Some(deadline) => {
                    if self.shared.done.wait_until(&mut state, deadline).timed_out() {
                        return !matches!(*state, State::Pending(_));
                    }
                }
            }
        }
        true
    }

    /// What the work gave, once.
    #[must_use]
    pub fn take(&self) -> Option<T> {
        let mut state = self.shared.state.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Done(outcome) => Some(outcome),
            pending @ State::Pending(_) => {
                *state = pending;
                None
            }
            State::Taken => None,
        }
    }

    /// Calls `tell` when the work is done: on the thread that did it, or here if it is done already. The last one
    /// given is called.
    pub fn when_done(&self, tell: impl FnOnce() + Send + 'static) {
        let mut state = self.shared.state.lock();
        if let State::Pending(waiting) = &mut *state {
            *waiting = Some(Box::new(tell));
            return;
        }
        drop(state);
        tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_gives_its_outcome_once() {
        let pool = Pool::new("test");
        let job = pool.submit(|| 6 * 7).unwrap();
        assert!(job.wait(None));
        assert_eq!((job.take(), job.take()), (Some(42), None));
    }

    #[test]
    fn a_job_tells_whoever_asked_even_if_late() {
        let pool = Pool::new("test");
        let (sender, receiver) = unbounded();
        let job = pool.submit(|| ()).unwrap();
        let early = sender.clone();
        job.when_done(move || early.send("first").unwrap());
        assert_eq!(receiver.recv().unwrap(), "first");
        job.when_done(move || sender.send("second").unwrap());
        assert_eq!(receiver.recv().unwrap(), "second");
    }

    #[test]
    fn waiting_ends_when_the_time_is_over() {
        let (release, gate) = unbounded::<()>();
        let pool = Pool::new("test");
        let job = pool.submit(move || gate.recv().is_ok()).unwrap();
        assert!(!job.wait(Some(Duration::from_millis(1))));
        release.send(()).unwrap();
        assert!(job.wait(None));
    }
}
