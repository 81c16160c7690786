//! Making room: segments whose records are mostly dead are emptied and removed.
//!
//! The record of a key may go only if no older record of that key is still on disk, or opening would take that one
//! for the newest. Hence the rules: a dead value just goes; a live one is appended again; a tombstone, and a live
//! value that is given up, leaves a tombstone at the end of the log, unless its segment is the oldest. A segment
//! is removed only after what was appended for it is synced, and never while it is the last one.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Shared;
use super::appender::{GroupSize, Prepared, Purpose};
use super::footer::{Entry, Footer};
use super::header::HEADER_BYTES;
use super::options::OnFull;
use super::place::RecordAt;
use super::record::RecordKind;
use super::recovery::{read_footer, remove_segment_file};
use super::scan::scan;
use super::segment::Segment;
use crate::checksum;
use crate::error::{Error, ErrorKind, Result};

/// The owner of the index, as cleaning sees it.
pub trait Residents: Sync {
    /// Calls `step` once, with the place of the newest record of `key` or `None` if it has no value, while nothing
    /// else can change that, and applies the verdict. Values that are only in memory count as absent.
    fn visit(&self, key: &[u8], step: &mut dyn FnMut(Option<RecordAt>) -> Verdict);

    /// Whether the value of `key`, whose newest record is at `at`, may be given up to make room. Only asked of a log
    /// with [`OnFull::Evict`].
    fn may_drop(&self, key: &[u8], at: RecordAt) -> bool;
}

/// What becomes of the key that [`Residents::visit`] was called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing changes.
    Keep,
    /// The newest record of the key is now here.
    MovedTo(RecordAt),
    /// The key has no value any more.
    Dropped,
}

/// Less than this share of a segment is not worth cleaning it for: more would be written again than won.
const WORTHWHILE_SHARE: u64 = 16;

/// The same for what makes records dead; without it a full log could not be emptied.
const WORTHWHILE_SHARE_FOR_REMOVES: u64 = 128;

/// What kept a record from being dealt with.
enum Stuck {
    NoRoom,
    Failed(Error),
}

impl From<Error> for Stuck {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A segment to be emptied.
struct Victim {
    segment: Arc<Segment>,
    is_oldest: bool,
    /// Live values may be given up.
    may_evict: bool,
}

impl Shared {
    /// Sees to it that `size` can be appended.
    pub(super) fn make_room(&self, size: GroupSize, purpose: Purpose, residents: &dyn Residents) -> Result<()> {
        self.check_size(size)?;
        let share = if purpose == Purpose::Remove { WORTHWHILE_SHARE_FOR_REMOVES } else { WORTHWHILE_SHARE };
        let mut reclaimed = 0;
        // Once through the log, and as much again for what that made: beyond, only others' writes would be chased.
        let most = 2 * self.segments.read().len();
        loop {
            self.flush.check()?;
            let cleaned_before = self.counts.cleaned_segments.load(Ordering::Acquire);
            let refused = {
                let mut appender = self.appender.lock();
                if appender.fits(self, size, purpose) {
                    return Ok(());
                }
                match appender.roll(self, size, purpose) {
                    Ok(true) if appender.fits(self, size, purpose) => return Ok(()),
                    Ok(_) => None,
                    Err(error) if error.kind() == ErrorKind::DiskFull => Some(error),
                    Err(error) => return Err(error),
                }
            };
            let _cleaning = self.cleaning.lock();
            if self.counts.cleaned_segments.load(Ordering::Acquire) == cleaned_before {
                self.reclaim(residents, self.segment_bytes / share, reclaimed > most, refused)?;
                reclaimed += 1;
            }
        }
    }

    fn check_size(&self, size: GroupSize) -> Result<()> {
        let most = self.options.disk_bytes - Purpose::Write.kept_bytes(self.segment_bytes) - HEADER_BYTES as u64;
        if size.segment_bytes() <= most {
            return Ok(());
        }
        Err(Error::new(ErrorKind::TooLarge, "the batch is larger than the log may become; raise disk_bytes")
            .with("batch_bytes", size.total_bytes())
            .with("disk_bytes", self.options.disk_bytes))
    }

    /// Removes a segment of which at least `worthwhile` bytes are dead, or says why nothing more can be removed.
    /// The caller may have reclaimed `enough` before.
    fn reclaim(&self, residents: &dyn Residents, worthwhile: u64, enough: bool, refused: Option<Error>) -> Result<()> {
        // Closing stops the flusher before it waits for cleaning to end: after that no file may vanish.
        self.flush.check()?;
        // Segments that were filled but not sealed yet count too.
        self.flush.wait_idle()?;
        if enough {
            return Err(self.full(refused));
        }
        let mut passed_over = Vec::new();
        while let Some(mut victim) = self.choose_victim(worthwhile, &passed_over)? {
            let id = victim.segment.id;
            let mut emptied = self.empty(&victim, residents);
            if matches!(emptied, Err(Stuck::NoRoom)) && victim.is_oldest && self.options.on_full == OnFull::Evict {
                // What cannot be moved can be given up: from here it goes without a trace, so that needs no room.
                victim.may_evict = true;
                emptied = self.empty(&victim, residents);
            }
            match emptied {
                Ok(()) => return self.remove(&victim.segment),
                Err(Stuck::NoRoom) => passed_over.push(id),
                Err(Stuck::Failed(error)) => return Err(error),
            }
        }
        Err(self.full(refused))
    }

    fn full(&self, refused: Option<Error>) -> Error {
        let stats = self.stats();
        let full = refused.unwrap_or_else(|| {
            Error::new(ErrorKind::DiskFull, "the log is full of live values; remove some or raise disk_bytes")
        });
        full.with("disk_bytes", stats.disk_bytes).with("live_bytes", stats.live_bytes)
    }

    /// The segment with the most to win; failing that the oldest, if its tombstones or values may go.
    fn choose_victim(&self, worthwhile: u64, passed_over: &[u32]) -> Result<Option<Victim>> {
        let sealed = self.sealed_segments();
        let oldest = self.segments.read().keys().next().copied();
        let usable = |segment: &&Arc<Segment>| !passed_over.contains(&segment.id);
        let win = |segment: &Arc<Segment>| segment.dead_bytes(Some(segment.id) == oldest);
        let best = sealed.iter().filter(usable).max_by_key(|segment| win(segment));
        if let Some(best) = best.filter(|best| win(best) >= worthwhile) {
            let is_oldest = Some(best.id) == oldest;
            return Ok(Some(Victim { segment: Arc::clone(best), is_oldest, may_evict: false }));
        }
        if self.close_wasteful_active(worthwhile)? {
            return self.choose_victim(worthwhile, passed_over);
        }
        let may_evict = self.options.on_full == OnFull::Evict;
        let tombstone_bytes: u64 =
            self.segments.read().values().map(|segment| segment.tombstone_bytes.load(Ordering::Relaxed)).sum();
        let first = sealed.iter().find(usable).filter(|_| may_evict || tombstone_bytes >= worthwhile);
        Ok(first.map(|segment| {
            let is_oldest = Some(segment.id) == oldest;
            Victim { segment: Arc::clone(segment), is_oldest, may_evict }
        }))
    }

    /// Sealed segments in order, without the last one: its number must not be given out again.
    fn sealed_segments(&self) -> Vec<Arc<Segment>> {
        let segments = self.segments.read();
        let last = segments.keys().next_back().copied();
        segments.values().filter(|segment| segment.is_sealed() && Some(segment.id) != last).cloned().collect()
    }

    /// Ends the segment being filled, or the last one, when it is itself the one worth cleaning.
    fn close_wasteful_active(&self, worthwhile: u64) -> Result<bool> {
        let last = self.segments.read().values().next_back().map(Arc::clone);
        let Some(last) = last.filter(|last| last.dead_bytes(false) >= worthwhile) else { return Ok(false) };
        let mut appender = self.appender.lock();
        appender.resumable = None;
        if !appender.roll(self, GroupSize::of(&[]), Purpose::Clean)? {
            return Ok(false);
        }
        drop(appender);
        self.flush.wait_idle()?;
        Ok(last.is_sealed())
    }

    /// Moves what must stay to the end of the log.
    fn empty(&self, victim: &Victim, residents: &dyn Residents) -> std::result::Result<(), Stuck> {
        let footer = self.footer_of(&victim.segment)?;
        for entry in footer.entries() {
            match entry.kind {
                RecordKind::Put => self.settle_value(victim, &entry, residents)?,
                RecordKind::Remove | RecordKind::Forget => self.settle_tombstone(victim, &entry, residents)?,
            }
        }
        let last_seq = self.last_seq();
        self.flush.wait_durable(self, last_seq)?;
        Ok(())
    }

    fn footer_of(&self, segment: &Segment) -> Result<Footer> {
        let size_bytes = segment.allocated_bytes.load(Ordering::Relaxed);
        if let Some(footer) = read_footer(&segment.file, size_bytes, self.log_id, segment.id)? {
            return Ok(footer);
        }
        let scanned = scan(&*segment.file, self.log_id, segment.id, false).map_err(|error| {
            Error::io("cannot read a segment of the log", error).with("path", segment.path.display())
        })?;
        if scanned.lost_before_seq.is_some() {
            return Err(Error::new(
                ErrorKind::Corrupt,
                "a segment to be cleaned lost its index and some of its records",
            )
            .with("path", segment.path.display()));
        }
        Ok(scanned.footer)
    }

    fn settle_tombstone(
        &self,
        victim: &Victim,
        entry: &Entry<'_>,
        residents: &dyn Residents,
    ) -> std::result::Result<(), Stuck> {
        if victim.is_oldest {
            return Ok(());
        }
        let again = Prepared { moved: true, ..Prepared::without_value(entry.kind, entry.key) };
        self.settle(residents, &again, |current| current.is_none(), |_| Verdict::Keep)
    }

    fn settle_value(
        &self,
        victim: &Victim,
        entry: &Entry<'_>,
        residents: &dyn Residents,
    ) -> std::result::Result<(), Stuck> {
        let mut is_live = false;
        residents.visit(entry.key, &mut |current| {
            is_live = current == Some(entry.at);
            Verdict::Keep
        });
        if !is_live {
            return Ok(());
        }
        let is_over = entry.expires_at_ms != 0 && entry.expires_at_ms <= unix_ms();
        if is_over || (victim.may_evict && residents.may_drop(entry.key, entry.at)) {
            return self.drop_value(victim, entry, residents);
        }
        let stored = self.with_record(entry.at, |found| {
            let whole = found.stored.is_empty() || checksum::of(found.stored) == found.header.stored_checksum;
            let damaged = || Error::new(ErrorKind::Corrupt, "a value does not match its checksum");
            if whole { Ok((found.header, found.stored.to_vec())) } else { Err(damaged()) }
        });
        let (header, stored) = match stored {
            Ok(Some(read)) => read,
            Ok(None) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Corrupt => return self.drop_value(victim, entry, residents),
            Err(error) => return Err(error.into()),
        };
        let again = Prepared {
            kind: RecordKind::Put,
            key: entry.key,
            stored: Cow::Owned(stored),
            codec: header.codec,
            value_bytes: header.value_bytes,
            expires_at_ms: header.expires_at_ms,
            value_checksum: header.value_checksum,
            stored_checksum: header.stored_checksum,
            moved: true,
        };
        self.counts.moved_bytes.fetch_add(entry.at.len_bytes(), Ordering::Relaxed);
        self.settle(residents, &again, |current| current == Some(entry.at), Verdict::MovedTo)
    }

    fn drop_value(
        &self,
        victim: &Victim,
        entry: &Entry<'_>,
        residents: &dyn Residents,
    ) -> std::result::Result<(), Stuck> {
        self.counts.dropped_records.fetch_add(1, Ordering::Relaxed);
        if !victim.is_oldest {
            let tombstone = Prepared { moved: true, ..Prepared::without_value(RecordKind::Forget, entry.key) };
            return self.settle(residents, &tombstone, |current| current == Some(entry.at), |_| Verdict::Dropped);
        }
        residents.visit(entry.key, &mut |current| {
            if current == Some(entry.at) { Verdict::Dropped } else { Verdict::Keep }
        });
        Ok(())
    }

    /// Appends `record` while its key is held still, if it `applies` to where the key is then.
    fn settle(
        &self,
        residents: &dyn Residents,
        record: &Prepared<'_>,
        applies: impl Fn(Option<RecordAt>) -> bool,
        verdict: impl Fn(RecordAt) -> Verdict,
    ) -> std::result::Result<(), Stuck> {
        let group = std::slice::from_ref(record);
        loop {
            self.room_for_cleaning(GroupSize::of(group))?;
            let mut appended = Ok(true);
            residents.visit(record.key, &mut |current| {
                if !applies(current) {
                    return Verdict::Keep;
                }
                let mut places = [RecordAt::new(0, 0, 0)];
                appended = self.append_now(group, &mut places, Purpose::Clean).map(|ticket| ticket.is_some());
                if matches!(appended, Ok(true)) { verdict(places[0]) } else { Verdict::Keep }
            });
            if appended? {
                return Ok(());
            }
        }
    }

    fn room_for_cleaning(&self, size: GroupSize) -> std::result::Result<(), Stuck> {
        self.flush.wait_for_room()?;
        let mut appender = self.appender.lock();
        if appender.fits(self, size, Purpose::Clean) || appender.roll(self, size, Purpose::Clean)? {
            return Ok(());
        }
        Err(Stuck::NoRoom)
    }

    fn remove(&self, segment: &Arc<Segment>) -> Result<()> {
        self.retained_from_seq.fetch_max(segment.last_seq.load(Ordering::Relaxed) + 1, Ordering::AcqRel);
        self.segments.write().remove(&segment.id);
        let removed = remove_segment_file(&self.dir, &segment.path);
        if removed.is_err() {
            // Still there, and its records still true or dead: to be tried again.
            self.segments.write().insert(segment.id, Arc::clone(segment));
            return removed;
        }
        self.allocated_bytes.fetch_sub(segment.allocated_bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        self.counts.cleaned_segments.fetch_add(1, Ordering::Release);
        Ok(())
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
