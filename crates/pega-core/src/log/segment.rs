//! One segment of the log: its file, and the counts that say what cleaning it would give.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::digest::LogId;
use super::file::{PAGE_BYTES, PageBuf, SegmentFile};
use super::footer::Footer;
use super::header::{HEADER_BYTES, SegmentHeader};
use super::options::FileIo;
use crate::error::{Error, Result};

/// A segment whose file is open. Counts are exact once nothing is being written, and only guide cleaning.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) id: u32,
    pub(super) path: PathBuf,
    pub(super) file: Arc<SegmentFile>,
    /// What the file takes on disk, in bytes.
    pub(super) allocated_bytes: AtomicU64,
    /// Where the last record ends, whether written yet or not.
    pub(super) data_end: AtomicU64,
    /// Up to where the file holds what was appended.
    pub(super) written_end: AtomicU64,
    /// Up to where the file is known to be synced.
    pub(super) synced_end: AtomicU64,
    pub(super) first_seq: AtomicU64,
    pub(super) last_seq: AtomicU64,
    /// Bytes of records that the index still refers to.
    pub(super) live_bytes: AtomicU64,
    /// Bytes of records that only keep older ones from coming back.
    pub(super) tombstone_bytes: AtomicU64,
    pub(super) sealed: AtomicBool,
    /// The directory was synced since the file was created.
    has_lasting_name: AtomicBool,
    /// No record will be added.
    pub(super) closed: AtomicBool,
}

/// The name of the file of segment `id`.
pub(super) fn file_name(id: u32) -> String {
    format!("{id:08}.seg")
}

/// The segment that a file of this name belongs to.
pub(super) fn id_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".seg")?;
    (digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit())).then(|| digits.parse().ok())?
}

impl Segment {
    /// Creates the file of a new segment with its header in `dir`. It lasts from its first [`Self::sync`] on.
    ///
    /// # Errors
    /// `DiskFull`, `ReadOnly`, `Io`; no file stays behind.
    pub(super) fn create(dir: &Path, header: &SegmentHeader, file_io: FileIo) -> Result<Self> {
        let path = dir.join(file_name(header.segment));
        let failed = |error| Error::io("cannot create a segment of the log", error).with("path", path.display());
        let file = SegmentFile::create(&path, header.capacity_bytes, file_io).map_err(failed)?;
        let written = PageBuf::zeroed(HEADER_BYTES).and_then(|mut page| {
            page.bytes_mut()[..64].copy_from_slice(&header.encode());
            file.write_pages(page.bytes(), 0)
        });
        if let Err(error) = written {
            let _ = std::fs::remove_file(&path);
            return Err(failed(error));
        }
        let segment = Self::over(header.segment, path, file, header.capacity_bytes);
        segment.first_seq.store(header.first_seq, Ordering::Relaxed);
        segment.has_lasting_name.store(false, Ordering::Relaxed);
        Ok(segment)
    }

    /// A segment over an open file that takes `allocated_bytes` and holds no record yet.
    pub(super) fn over(id: u32, path: PathBuf, file: SegmentFile, allocated_bytes: u64) -> Self {
        Self {
            id,
            path,
            file: Arc::new(file),
            allocated_bytes: AtomicU64::new(allocated_bytes),
            data_end: AtomicU64::new(HEADER_BYTES as u64),
            written_end: AtomicU64::new(HEADER_BYTES as u64),
            synced_end: AtomicU64::new(HEADER_BYTES as u64),
            first_seq: AtomicU64::new(0),
            last_seq: AtomicU64::new(0),
            live_bytes: AtomicU64::new(0),
            tombstone_bytes: AtomicU64::new(0),
            sealed: AtomicBool::new(false),
            has_lasting_name: AtomicBool::new(true),
            closed: AtomicBool::new(false),
        }
    }

    /// Takes over what the footer says, as for a segment that was found on disk.
    pub(super) fn adopt(&self, footer: &Footer) {
        self.data_end.store(footer.data_end(), Ordering::Relaxed);
        self.written_end.store(footer.data_end(), Ordering::Relaxed);
        self.first_seq.store(footer.first_seq(), Ordering::Relaxed);
        self.last_seq.store(footer.last_seq(), Ordering::Relaxed);
        for entry in footer.entries() {
            self.count_record(entry.kind == super::RecordKind::Put, entry.at.len_bytes());
        }
    }

    /// Counts a record that was appended.
    pub(super) fn count_record(&self, is_put: bool, len_bytes: u64) {
        let count = if is_put { &self.live_bytes } else { &self.tombstone_bytes };
        count.fetch_add(len_bytes, Ordering::Relaxed);
    }

    /// Bytes of records that need not be written again when this segment is cleaned.
    pub(super) fn dead_bytes(&self, is_oldest: bool) -> u64 {
        let tombstones = if is_oldest { 0 } else { self.tombstone_bytes.load(Ordering::Relaxed) };
        let kept = self.live_bytes.load(Ordering::Relaxed) + tombstones;
        self.data_end.load(Ordering::Relaxed).saturating_sub(kept + HEADER_BYTES as u64)
    }

    pub(super) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    /// Syncs the file, and its name if that is new.
    pub(super) fn sync(&self) -> Result<()> {
        let failed = |error| Error::io("cannot sync a segment of the log", error).with("path", self.path.display());
        self.file.sync().map_err(failed)?;
        if !self.has_lasting_name.load(Ordering::Relaxed) {
            sync_dir(self.path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
            self.has_lasting_name.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Writes the footer behind the records, which are synced, so that no footer on disk speaks of records that are
    /// not, and cuts the file there. Gives the size of the file. A footer that does not last is made again from the
    /// records.
    pub(super) fn seal(&self, footer: &Footer, log_id: LogId) -> Result<u64> {
        let failed = |error| Error::io("cannot write the index of a segment", error).with("path", self.path.display());
        let body_start = footer.data_end().next_multiple_of(PAGE_BYTES as u64);
        let encoded = footer.encode(log_id, body_start);
        let sealed = PageBuf::zeroed(encoded.len()).and_then(|mut pages| {
            pages.bytes_mut()[..encoded.len()].copy_from_slice(&encoded);
            self.file.write_pages(pages.bytes(), body_start)?;
            self.file.truncate(body_start + encoded.len() as u64)
        });
        sealed.map_err(failed)?;
        let size_bytes = body_start + encoded.len() as u64;
        self.sealed.store(true, Ordering::Release);
        Ok(size_bytes)
    }
}

/// Makes the names in `dir` last.
pub(super) fn sync_dir(dir: &Path) -> std::io::Result<()> {
    std::fs::File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_segment_files_are_taken_for_segments() {
        assert_eq!(id_of(&file_name(7)), Some(7));
        assert_eq!(id_of(&file_name(u32::MAX)), Some(u32::MAX));
        for other in ["LOCK", "7.seg", "0000000x.seg", "00000007.seg.old", "+0000007.seg", "99999999999.seg"] {
            assert_eq!(id_of(other), None, "{other}");
        }
    }
}
