//! The flusher: one thread that writes stages to their files in order, seals segments, and syncs.
//!
//! Lock order: the appender's lock before the lock of [`FlushState`]; the flusher never takes the former while it
//! holds the latter. Appenders wait for a full queue only while they hold neither.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::Shared;
use super::file::PageBuf;
use super::footer::Footer;
use super::options::Durability;
use super::segment::Segment;
use super::stage::{STAGE_BYTES, Stage};
use crate::error::{Error, ErrorKind, Result};

/// Appenders wait while more than this is queued, in bytes.
const MAX_QUEUED_BYTES: usize = 4 * STAGE_BYTES;

/// How many written stages keep their memory for later: as many as are queued at most, one being written and one being
/// filled.
const SPARE_STAGES: usize = MAX_QUEUED_BYTES / STAGE_BYTES + 2;

/// How long after a refused write the next attempt is made.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Something the flusher does, in the order it was queued.
#[derive(Debug)]
pub(super) enum Job {
    /// Write a stage to its file.
    Write(Arc<Stage>),
    /// Write the index of a segment whose records are all queued before.
    Seal { segment: Arc<Segment>, footer: Arc<Footer> },
}

impl Job {
    fn size_bytes(&self) -> usize {
        match self {
            Self::Write(stage) => stage.size_bytes(),
            Self::Seal { .. } => 0,
        }
    }
}

/// Why the log cannot be written to at the moment.
#[derive(Clone, Debug)]
struct Failure {
    kind: ErrorKind,
    message: String,
    /// A sync failed: what the kernel did with the pages is unknown, so only reopening tells.
    is_final: bool,
}

impl Failure {
    fn of(error: &Error, is_final: bool) -> Self {
        Self { kind: error.kind(), message: error.to_string(), is_final }
    }

    fn to_error(&self) -> Error {
        let next = if self.is_final { "; open the log again" } else { "; writing resumes when the cause is gone" };
        Error::new(self.kind, format!("{}{next}", self.message))
    }
}

#[derive(Debug, Default)]
pub(super) struct FlushState {
    /// What is not written yet; the front stays until it is.
    queue: VecDeque<Job>,
    queued_bytes: usize,
    spare: Vec<PageBuf>,
    /// Someone waits for everything up to here to be synced.
    wanted_seq: u64,
    /// When the oldest record that no one waits for was appended.
    dirty_since: Option<Instant>,
    failure: Option<Failure>,
    stopping: bool,
    stopped: bool,
}

/// The queue between appenders and the flusher.
#[derive(Debug, Default)]
pub(super) struct Flush {
    state: Mutex<FlushState>,
    /// Told when there may be something for the flusher to do.
    work: Condvar,
    /// Told when something was written or synced, or could not be.
    progress: Condvar,
    /// Whether `dirty_since` is set; spares appenders the lock.
    dirty: AtomicBool,
}

/// What the flusher is to do next.
struct Call {
    take_partial: bool,
    sync: bool,
    stop: bool,
}

impl Flush {
    /// # Errors
    /// Why the log cannot be written to, if it cannot.
    pub(super) fn check(&self) -> Result<()> {
        self.state.lock().check()
    }

    /// Waits until the queue has room.
    ///
    /// # Errors
    /// Why the log cannot be written to, if it cannot.
    pub(super) fn wait_for_room(&self) -> Result<()> {
        let mut state = self.state.lock();
        loop {
            state.check()?;
            if state.queued_bytes <= MAX_QUEUED_BYTES {
                return Ok(());
            }
            self.progress.wait(&mut state);
        }
    }

    /// Memory for a stage, of which any byte may be anything.
    pub(super) fn take_pages(&self) -> Result<PageBuf> {
        if let Some(pages) = self.state.lock().spare.pop() {
            return Ok(pages);
        }
        PageBuf::zeroed(STAGE_BYTES).map_err(|error| Error::io("cannot get memory to gather records in", error))
    }

    pub(super) fn enqueue<const N: usize>(&self, jobs: [Job; N]) {
        let mut state = self.state.lock();
        for job in jobs {
            state.queued_bytes += job.size_bytes();
            state.queue.push_back(job);
        }
        self.work.notify_one();
    }

    /// Notes that something was appended, for the flusher to come by within the interval.
    pub(super) fn mark_dirty(&self) {
        if !self.dirty.swap(true, Ordering::AcqRel) {
            self.state.lock().dirty_since = Some(Instant::now());
            self.work.notify_one();
        }
    }

    /// Waits until everything up to `seq` is synced.
    ///
    /// # Errors
    /// Why it cannot be synced; it may be synced later all the same.
    pub(super) fn wait_durable(&self, shared: &Shared, seq: u64) -> Result<()> {
        let mut state = self.state.lock();
        loop {
            if shared.durable_seq.load(Ordering::Acquire) >= seq {
                return Ok(());
            }
            state.check_failure()?;
            if state.stopped {
                return Err(closed());
            }
            if state.wanted_seq < seq {
                state.wanted_seq = seq;
                self.work.notify_one();
            }
            self.progress.wait(&mut state);
        }
    }

    /// Waits until nothing is queued.
    ///
    /// # Errors
    /// Why the queue cannot be written.
    pub(super) fn wait_idle(&self) -> Result<()> {
        let mut state = self.state.lock();
        while !state.queue.is_empty() {
            state.check_failure()?;
            if state.stopped {
                return Err(closed());
            }
            self.progress.wait(&mut state);
        }
        Ok(())
    }

    /// Lets the flusher finish what is queued and end.
    pub(super) fn stop(&self) {
        self.state.lock().stopping = true;
        self.work.notify_one();
    }

    /// What is queued could not all be written: why.
    pub(super) fn failure(&self) -> Option<Error> {
        self.state.lock().failure.as_ref().map(Failure::to_error)
    }

    /// Copies what queued stages hold of the file range at `offset` of `segment` into `target`.
    pub(super) fn copy_queued(&self, segment: u32, offset: u64, target: &mut [u8]) {
        for job in &self.state.lock().queue {
            if let Job::Write(stage) = job {
                stage.copy_overlap(segment, offset, target);
            }
        }
    }

    fn next_call(&self, shared: &Shared) -> Call {
        let mut state = self.state.lock();
        loop {
            let stop = state.stopping;
            if stop || (state.failure.is_none() && state.wanted_seq > shared.durable_seq.load(Ordering::Acquire)) {
                return Call { take_partial: true, sync: true, stop };
            }
            if let Some(failure) = &state.failure {
                let is_final = failure.is_final;
                let until = Instant::now() + RETRY_AFTER;
                while !state.stopping && !self.work.wait_until(&mut state, until).timed_out() {}
                if !is_final && !state.stopping {
                    return Call { take_partial: false, sync: true, stop: false };
                }
                continue;
            }
            if !state.queue.is_empty() {
                return Call { take_partial: false, sync: false, stop: false };
            }
            match state.dirty_since.map(|since| since + shared.options.flush_interval) {
                Some(due) if due <= Instant::now() => {
                    state.dirty_since = None;
                    self.dirty.store(false, Ordering::Release);
                    let sync = shared.options.durability != Durability::None;
                    return Call { take_partial: true, sync, stop: false };
                }
                Some(due) => {
                    self.work.wait_until(&mut state, due);
                }
                None => self.work.wait(&mut state),
            }
        }
    }

    /// The job at the front, which stays queued.
    fn peek(&self) -> Option<FrontJob> {
        match self.state.lock().queue.front()? {
            Job::Write(stage) => Some(FrontJob::Write(Arc::clone(stage))),
            Job::Seal { segment, footer } => Some(FrontJob::Seal(Arc::clone(segment), Arc::clone(footer))),
        }
    }

    /// Takes the finished job from the queue and keeps its memory.
    fn finish_front(&self) {
        let mut state = self.state.lock();
        if let Some(job) = state.queue.pop_front() {
            state.queued_bytes -= job.size_bytes();
            if let Job::Write(stage) = job
                && let Some(stage) = Arc::into_inner(stage)
                && state.spare.len() < SPARE_STAGES
            {
                state.spare.push(stage.into_pages());
            }
        }
        self.progress.notify_all();
    }

    fn final_failure(&self) -> Option<Failure> {
        self.state.lock().failure.clone().filter(|failure| failure.is_final)
    }

    fn settle(&self, outcome: std::result::Result<(), Failure>) {
        let mut state = self.state.lock();
        state.failure = outcome.err();
        self.progress.notify_all();
    }
}

impl FlushState {
    fn check(&self) -> Result<()> {
        if self.stopping { Err(closed()) } else { self.check_failure() }
    }

    fn check_failure(&self) -> Result<()> {
        self.failure.as_ref().map_or(Ok(()), |failure| Err(failure.to_error()))
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the log is closed")
}

/// The job being done; queued meanwhile, so that readers find its bytes.
enum FrontJob {
    Write(Arc<Stage>),
    Seal(Arc<Segment>, Arc<Footer>),
}

/// What the flusher knows.
struct Flusher<'a> {
    shared: &'a Shared,
    written_seq: u64,
    unsynced: Vec<Arc<Segment>>,
}

/// Tells everybody when the flusher ends, so that no one waits for it, be it by a panic.
struct EndOfFlusher<'a>(&'a Flush);

impl Drop for EndOfFlusher<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        if std::thread::panicking() {
            let message = "the log's flusher panicked".to_owned();
            state.failure = Some(Failure { kind: ErrorKind::Io, message, is_final: true });
        }
        state.stopped = true;
        self.0.progress.notify_all();
    }
}

/// Runs until the log is closed.
pub(super) fn run(shared: &Shared) {
    let _end = EndOfFlusher(&shared.flush);
    let written_seq = shared.durable_seq.load(Ordering::Acquire);
    let mut flusher = Flusher { shared, written_seq, unsynced: Vec::new() };
    loop {
        let call = shared.flush.next_call(shared);
        let outcome = flusher.answer(&call);
        shared.flush.settle(outcome);
        shared.tell_followers();
        if call.stop {
            return;
        }
    }
}

impl Flusher<'_> {
    fn answer(&mut self, call: &Call) -> std::result::Result<(), Failure> {
        if let Some(failure) = self.shared.flush.final_failure() {
            return Err(failure);
        }
        if call.take_partial {
            self.take_partial(call.stop)?;
        }
        self.work_off(call.sync)
    }

    fn take_partial(&self, closing: bool) -> std::result::Result<(), Failure> {
        let mut appender = self.shared.appender.lock();
        if closing {
            appender.close_active(self.shared);
            return Ok(());
        }
        appender.submit_partial(self.shared).map_err(|error| Failure::of(&error, false))
    }

    fn work_off(&mut self, sync: bool) -> std::result::Result<(), Failure> {
        while let Some(job) = self.shared.flush.peek() {
            match job {
                FrontJob::Write(stage) => self.write(&stage)?,
                FrontJob::Seal(segment, footer) => self.seal(&segment, &footer)?,
            }
            self.shared.flush.finish_front();
        }
        if sync { self.sync() } else { Ok(()) }
    }

    fn write(&mut self, stage: &Stage) -> std::result::Result<(), Failure> {
        stage.write().map_err(|error| Failure::of(&error, false))?;
        stage.segment.written_end.fetch_max(stage.end(), Ordering::Release);
        self.written_seq = self.written_seq.max(stage.last_seq);
        if !self.unsynced.iter().any(|segment| segment.id == stage.segment.id) {
            self.unsynced.push(Arc::clone(&stage.segment));
        }
        Ok(())
    }

    fn seal(&mut self, segment: &Arc<Segment>, footer: &Footer) -> std::result::Result<(), Failure> {
        self.sync_segment(segment)?;
        let size_bytes = segment.seal(footer, self.shared.log_id).map_err(|error| Failure::of(&error, false))?;
        let before = segment.allocated_bytes.swap(size_bytes, Ordering::Relaxed);
        self.shared.allocated_bytes.fetch_add(size_bytes, Ordering::Relaxed);
        self.shared.allocated_bytes.fetch_sub(before, Ordering::Relaxed);
        self.unsynced.retain(|unsynced| unsynced.id != segment.id);
        Ok(())
    }

    fn sync_segment(&self, segment: &Segment) -> std::result::Result<(), Failure> {
        let written_end = segment.written_end.load(Ordering::Acquire);
        segment.sync().map_err(|error| Failure::of(&error, true))?;
        segment.synced_end.fetch_max(written_end, Ordering::Release);
        self.shared.counts.syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn sync(&mut self) -> std::result::Result<(), Failure> {
        for segment in &self.unsynced {
            self.sync_segment(segment)?;
        }
        self.unsynced.clear();
        self.shared.durable_seq.fetch_max(self.written_seq, Ordering::Release);
        Ok(())
    }
}
