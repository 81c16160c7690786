//! Opening a log: taking its directory, and finding every record that counts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::digest::LogId;
use super::file::SegmentFile;
use super::footer::{Entry, Footer, TRAILER_BYTES, Trailer};
use super::header::{HeaderBytes, SegmentHeader};
use super::identity::{self, Identity};
use super::options::{LogOptions, OnDamage};
use super::scan::scan;
use super::segment::{Segment, id_of, sync_dir};
use crate::error::{Error, ErrorKind, Result};

/// How far numbers jump after a stop that was no close: what was lost may have been seen by a follower, and its
/// numbers must not come back with another meaning.
const SEQ_JUMP: u64 = 1 << 20;

/// What opening found: every record that counts, in the order they were written.
#[derive(Debug)]
pub struct Recovery {
    pub(super) footers: Vec<Footer>,
    /// Segments whose records had to be looked for, since they had no usable index.
    pub scanned_segments: usize,
    /// Segments that ended in a write that was under way when the process or the machine stopped.
    pub torn_segments: usize,
    /// Records given up because newer ones may have been lost ([`OnDamage::Forget`]).
    pub forgotten_records: usize,
}

impl Recovery {
    /// Every record, oldest first: the last one of a key says what the key holds.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.footers.iter().flat_map(Footer::entries)
    }

    /// How many records [`Self::entries`] gives.
    #[must_use]
    pub fn len(&self) -> usize {
        self.footers.iter().map(|footer| footer.count() as usize).sum()
    }

    /// Whether the log holds no record.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A log as it was opened.
pub(super) struct Opened {
    pub(super) found: Found,
    pub(super) recovery: Recovery,
}

/// What a log goes on from.
pub(super) struct Found {
    pub(super) log_id: LogId,
    pub(super) segments: BTreeMap<u32, Arc<Segment>>,
    pub(super) resumable: Option<(Arc<Segment>, Footer)>,
    pub(super) next_seq: u64,
    pub(super) retained_from_seq: u64,
}

/// A segment as it was found.
struct Loaded {
    segment: Arc<Segment>,
    footer: Footer,
    is_sealed: bool,
    lost_before_seq: Option<u64>,
}

/// Reads the log in `dir`, which is locked, and makes it one if it is empty.
pub(super) fn open(dir: &Path, options: &LogOptions, segment_bytes: u64) -> Result<Opened> {
    let paths = segment_paths(dir)?;
    let log_id = find_identity(dir, &paths)?;
    let mut loaded = Vec::new();
    let mut torn_segments = 0;
    let last_id = paths.keys().next_back().copied();
    for (id, path) in paths {
        let (segment, torn) = load(id, path, log_id, options, Some(id) == last_id)?;
        torn_segments += usize::from(torn);
        loaded.push(segment);
    }
    let scanned_segments = loaded.iter().filter(|segment| !segment.is_sealed).count();
    let forgotten_records = forget_what_may_be_stale(dir, &mut loaded, options.on_damage)?;
    seal_scanned(&mut loaded, log_id)?;
    let last_seq = loaded.iter().map(|segment| segment.footer.last_seq()).max().unwrap_or(0);
    let next_seq = last_seq + 1 + if scanned_segments == 0 { 0 } else { SEQ_JUMP };
    let retained_from_seq = retained_from(&loaded, next_seq);
    let resumable = loaded.last().filter(|last| last.footer.data_end() < segment_bytes / 4 * 3);
    let resumable = resumable.map(|last| (Arc::clone(&last.segment), last.footer.clone()));
    let segments = loaded.iter().map(|loaded| (loaded.segment.id, Arc::clone(&loaded.segment))).collect();
    let footers = loaded.into_iter().map(|loaded| loaded.footer).collect();
    let recovery = Recovery { footers, scanned_segments, torn_segments, forgotten_records };
    Ok(Opened { found: Found { log_id, segments, resumable, next_seq, retained_from_seq }, recovery })
}

fn segment_paths(dir: &Path) -> Result<BTreeMap<u32, PathBuf>> {
    let failed = |error| Error::io("cannot list the log's directory", error).with("path", dir.display());
    let mut paths = BTreeMap::new();
    for item in std::fs::read_dir(dir).map_err(failed)? {
        let item = item.map_err(failed)?;
        if let Some(id) = item.file_name().to_str().and_then(id_of) {
            paths.insert(id, item.path());
        }
    }
    Ok(paths)
}

/// The identity of the log: from its file or, that being damaged, from a segment; a new one for an empty directory.
fn find_identity(dir: &Path, paths: &BTreeMap<u32, PathBuf>) -> Result<LogId> {
    let found = identity::read(dir)?;
    if let Identity::Known(id) = found {
        return Ok(id);
    }
    for path in paths.values() {
        if let HeaderBytes::Whole(header) = read_header(path)? {
            identity::write(dir, header.log_id)?;
            return Ok(header.log_id);
        }
    }
    if !paths.is_empty() {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "neither the log's directory nor its segments say which log they are",
        )
        .with("path", dir.display()));
    }
    if found == Identity::Damaged {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "the directory holds a damaged file FORMAT and no segments; empty it",
        )
        .with("path", dir.display()));
    }
    let id = LogId::random();
    identity::write(dir, id)?;
    Ok(id)
}

fn read_header(path: &Path) -> Result<HeaderBytes> {
    use std::os::unix::fs::FileExt;
    let mut bytes = [0; 64];
    let failed = |error| Error::io("cannot read a segment of the log", error).with("path", path.display());
    let file = std::fs::File::open(path).map_err(failed)?;
    match file.read_exact_at(&mut bytes, 0) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Ok(HeaderBytes::Damaged),
        Err(error) => Err(failed(error)),
        Ok(()) => SegmentHeader::decode(&bytes).map_err(|error| error.with("path", path.display())),
    }
}

fn load(id: u32, path: PathBuf, log_id: LogId, options: &LogOptions, is_last: bool) -> Result<(Loaded, bool)> {
    let shown = path.display().to_string();
    let failed = |error| Error::io("cannot read a segment of the log", error).with("path", &shown);
    if let HeaderBytes::Whole(header) = read_header(&path)?
        && (header.log_id != log_id || header.segment != id)
    {
        return Err(Error::new(ErrorKind::Corrupt, "a segment belongs to another log or place; move it away")
            .with("path", shown));
    }
    let file = SegmentFile::open(&path, options.file_io).map_err(failed)?;
    let size_bytes = file.size_bytes().map_err(failed)?;
    let sealed = read_footer(&file, size_bytes, log_id, id).map_err(|error| error.with("path", &shown))?;
    let is_sealed = sealed.is_some();
    let (footer, torn, lost_before_seq) = match sealed {
        Some(footer) => (footer, false, None),
        None => {
            let scanned = scan(&file, log_id, id, is_last).map_err(failed)?;
            (scanned.footer, scanned.torn, scanned.lost_before_seq)
        }
    };
    let segment = Arc::new(Segment::over(id, path, file, size_bytes));
    segment.adopt(&footer);
    segment.sealed.store(is_sealed, Ordering::Relaxed);
    segment.closed.store(true, Ordering::Relaxed);
    Ok((Loaded { segment, footer, is_sealed, lost_before_seq }, torn))
}

/// The index at the end of a sealed segment; `None` if it has none that can be used.
pub(super) fn read_footer(file: &SegmentFile, size_bytes: u64, log_id: LogId, segment: u32) -> Result<Option<Footer>> {
    let failed = |error| Error::io("cannot read the index of a segment", error);
    let Some(trailer_start) = size_bytes.checked_sub(TRAILER_BYTES as u64) else { return Ok(None) };
    let mut bytes = [0; TRAILER_BYTES];
    let got = file.read_buffered(&mut bytes, trailer_start).map_err(failed)?;
    let Some(trailer) = Trailer::decode(&bytes[..got], size_bytes, log_id, segment)? else { return Ok(None) };
    let mut body = vec![0; usize::try_from(trailer.body_bytes).unwrap_or(0)];
    file.read_buffered(&mut body, trailer.body_start).map_err(failed)?;
    Ok(Footer::decode(&trailer, body, log_id, segment).ok())
}

/// Where synced records are lost, nothing older can be trusted: gives it up or refuses to open, as asked.
fn forget_what_may_be_stale(dir: &Path, loaded: &mut Vec<Loaded>, on_damage: OnDamage) -> Result<usize> {
    let Some(damaged) = loaded.iter().rposition(|segment| segment.lost_before_seq.is_some()) else { return Ok(0) };
    let lost_before_seq = loaded[damaged].lost_before_seq.unwrap_or(0);
    if on_damage == OnDamage::Refuse {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "synced records are damaged beyond telling which keys they held; restore the directory, or open it so \
             that everything older is given up",
        )
        .with("path", loaded[damaged].segment.path.display())
        .with("lost_before_seq", lost_before_seq));
    }
    let mut forgotten = 0;
    for older in loaded.drain(..damaged) {
        forgotten += older.footer.count() as usize;
        remove_segment_file(dir, &older.segment.path)?;
    }
    let kept = &mut loaded[0];
    let mut footer = Footer::new(kept.segment.id);
    for entry in kept.footer.entries().filter(|entry| entry.seq >= lost_before_seq) {
        footer.push(&entry);
    }
    forgotten += (kept.footer.count() - footer.count()) as usize;
    kept.segment.live_bytes.store(0, Ordering::Relaxed);
    kept.segment.tombstone_bytes.store(0, Ordering::Relaxed);
    kept.segment.adopt(&footer);
    kept.footer = footer;
    Ok(forgotten)
}

/// Gives segments that were scanned their index, so that what was found now is what will be found from now on.
fn seal_scanned(loaded: &mut [Loaded], log_id: LogId) -> Result<()> {
    for found in loaded.iter().filter(|loaded| !loaded.is_sealed) {
        match found.segment.sync().and_then(|()| found.segment.seal(&found.footer, log_id)) {
            Ok(size_bytes) => found.segment.allocated_bytes.store(size_bytes, Ordering::Relaxed),
            // Scanned again next time: the file is as it was, and no record is added behind a torn end.
            Err(error) if matches!(error.kind(), ErrorKind::DiskFull | ErrorKind::ReadOnly) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// A segment that is missing was cleaned: changes are complete only from the one behind it on.
fn retained_from(loaded: &[Loaded], next_seq: u64) -> u64 {
    let complete = loaded.chunk_by(|one, next| next.segment.id == one.segment.id + 1).next_back().unwrap_or(&[]);
    complete.iter().find(|found| found.footer.count() > 0).map_or(next_seq, |found| found.footer.first_seq())
}

/// Removes the file of a segment, so that it does not come back.
pub(super) fn remove_segment_file(dir: &Path, path: &Path) -> Result<()> {
    let removed = std::fs::remove_file(path).and_then(|()| sync_dir(dir));
    removed.map_err(|error| Error::io("cannot remove a segment of the log", error).with("path", path.display()))
}
