//! The arena as a client sees it: one mapping to read, one to write what was reserved.

use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

use rustix::fs::SealFlags;
use rustix::mm::Advice;

use crate::arena::{Access, Mapping};
use crate::cache::{Span, total_bytes};
use crate::checksum::{self, SummedCopy};
use crate::error::{Error, Result};
use crate::sidecar::codec::broken;
use crate::sidecar::place::Place;

/// The arena of the server, mapped here.
pub(super) struct Window {
    readable: Arc<Mapping>,
    writable: OnceLock<Arc<Mapping>>,
    file: OwnedFd,
}

impl Window {
    /// Maps the arena to read.
    ///
    /// # Errors
    /// `Protocol` if the file is not of that size or could be cut short, which would make an access a fault.
    pub(super) fn open(file: OwnedFd, size_bytes: u64) -> Result<Self> {
        let seals = rustix::fs::fcntl_get_seals(&file).unwrap_or(SealFlags::empty());
        let is_long_enough = rustix::fs::fstat(&file).is_ok_and(|stat| u64::try_from(stat.st_size) == Ok(size_bytes));
        if !seals.contains(SealFlags::SHRINK) || !is_long_enough {
            return Err(broken("the arena of the sidecar is not a sealed memory file of the size announced")
                .with("memory_bytes", size_bytes));
        }
        let readable = Arc::new(Mapping::of_file(copy_of(&file)?, length(size_bytes)?, Access::Read)?);
        fault_in(&readable, Advice::LinuxPopulateRead);
        Ok(Self { readable, writable: OnceLock::new(), file })
    }

    fn check(&self, offset: u64, size_bytes: u64) -> Result<usize> {
        let end = offset.checked_add(size_bytes);
        if end.is_none_or(|end| end > self.readable.size_bytes() as u64) {
            return Err(broken("a place lies outside the arena").with("offset", offset).with("size_bytes", size_bytes));
        }
        length(offset)
    }

    /// Where the bytes of `place` are in this process.
    pub(super) fn address(&self, place: Place) -> Result<NonNull<u8>> {
        let offset = self.check(place.offset, place.size_bytes)?;
        // SAFETY: within the mapping, as just checked.
        Ok(unsafe { self.readable.start().add(offset) })
    }

    /// Copies a value out and says whether the copy is right.
    ///
    /// Nothing need hold the value in place: what another process overwrites meanwhile fails its checksum, which is
    /// taken over the copy.
    ///
    /// # Safety
    /// `target` is valid for writes of `place.size_bytes`.
    pub(super) unsafe fn copy_out(&self, place: Place, target: NonNull<u8>) -> Result<bool> {
        let source = self.address(place)?;
        // SAFETY: the source is mapped for as long as `self` lives; the target is the caller's promise.
        let sum = unsafe { checksum::copy_raw(target, source, length(place.size_bytes)?) };
        Ok(sum == place.checksum)
    }

    /// As [`Self::copy_out`], to several runs that are together as long as the value.
    ///
    /// # Safety
    /// The runs are valid for writes, and nothing else writes there meanwhile.
    pub(super) unsafe fn scatter_out(&self, place: Place, spans: &[Span]) -> Result<bool> {
        let mut source = self.address(place)?;
        debug_assert_eq!(total_bytes(spans) as u64, place.size_bytes);
        let mut copy = SummedCopy::default();
        for span in spans {
            // SAFETY: the source is mapped for as long as `self` lives; the rest is the caller's promise.
            unsafe {
                copy.copy(span.start(), source, span.len());
                source = source.add(span.len());
            }
        }
        Ok(copy.finish() == place.checksum)
    }

    /// Fills reserved space from several runs and gives the checksum of what it then holds.
    ///
    /// # Safety
    /// The runs are valid for reads.
    pub(super) unsafe fn gather_in(&self, space: Place, spans: &[Span]) -> Result<u64> {
        if total_bytes(spans) as u64 != space.size_bytes {
            return Err(
                broken("the sidecar reserved other room than was asked for").with("size_bytes", space.size_bytes)
            );
        }
        let offset = self.check(space.offset, space.size_bytes)?;
        // SAFETY: within the mapping, as just checked.
        let mut target = unsafe { self.writable()?.start().add(offset) };
        let mut copy = SummedCopy::default();
        for span in spans {
            // SAFETY: within space that the server keeps for this lane alone, as in `copy_in`; the runs are the
            // caller's promise.
            unsafe {
                copy.copy(target, span.start(), span.len());
                target = target.add(span.len());
            }
        }
        Ok(copy.finish())
    }

    /// Copies `value` to `start` within reserved space and gives its checksum.
    pub(super) fn copy_in(&self, space: Place, start: u64, value: &[u8]) -> Result<u64> {
        if start.checked_add(value.len() as u64).is_none_or(|end| end > space.size_bytes) {
            return Err(broken("the sidecar reserved less than was asked for").with("size_bytes", space.size_bytes));
        }
        let offset = self.check(space.offset, space.size_bytes)? + length(start)?;
        let writable = self.writable()?;
        // SAFETY: within the mapping and within space that the server keeps for this lane alone until it is
        // committed, returned, or the socket is closed, which only the thread that writes here does.
        unsafe { Ok(checksum::copy_raw(writable.start().add(offset), NonNull::from(value).cast(), value.len())) }
    }

    /// The mapping to write, made for the first put: most processes that only load never need it.
    fn writable(&self) -> Result<&Mapping> {
        if let Some(mapping) = self.writable.get() {
            return Ok(mapping);
        }
        let mapping = Mapping::of_file(copy_of(&self.file)?, self.readable.size_bytes(), Access::ReadWrite)?;
        Ok(self.writable.get_or_init(|| {
            let mapping = Arc::new(mapping);
            fault_in(&mapping, Advice::LinuxPopulateWrite);
            mapping
        }))
    }
}

/// How much is faulted in at once: some milliseconds, after which the thread looks whether it is still wanted.
const STEP_BYTES: usize = 32 << 20;

/// Enters the pages of a mapping into this process's tables, on a thread of its own, so that copies do not pay for it.
/// Where that fails, they do.
fn fault_in(mapping: &Arc<Mapping>, advice: Advice) {
    let size_bytes = mapping.size_bytes();
    let mapping = Arc::downgrade(mapping);
    let thread = std::thread::Builder::new().name("pega-fault-in".to_owned());
    let _ = thread.spawn(move || {
        for offset in (0..size_bytes).step_by(STEP_BYTES) {
            let Some(mapping) = mapping.upgrade() else { return };
            let step_bytes = STEP_BYTES.min(size_bytes - offset);
            // SAFETY: within the mapping, which is kept for this step; the advice changes no byte.
            let advised =
                unsafe { rustix::mm::madvise(mapping.start().add(offset).as_ptr().cast(), step_bytes, advice) };
            if advised.is_err() {
                return;
            }
        }
    });
}

fn copy_of(file: &OwnedFd) -> Result<OwnedFd> {
    file.try_clone().map_err(|error| Error::io("cannot copy the descriptor of the arena", error))
}

fn length(size_bytes: u64) -> Result<usize> {
    usize::try_from(size_bytes).map_err(|_| broken("a size does not fit this machine").with("size_bytes", size_bytes))
}
