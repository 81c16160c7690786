//! One segment file: page-aligned writes and reads, past the page cache where the file system offers it.

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use memmap2::MmapMut;

#[cfg(target_os = "linux")]
use super::ahead;
use super::options::FileIo;

/// What offsets, sizes and memory of direct I/O are multiples of, in bytes; no disk asks for more.
pub(super) const PAGE_BYTES: usize = 4096;

/// A thread keeps its buffer for reading up to this size.
const KEPT_BUFFER_BYTES: usize = 4 << 20;

/// Page-aligned memory.
#[derive(Debug)]
pub(super) struct PageBuf(MmapMut);

impl PageBuf {
    /// At least `len_bytes` of zeros.
    pub(super) fn zeroed(len_bytes: usize) -> io::Result<Self> {
        MmapMut::map_anon(len_bytes.next_multiple_of(PAGE_BYTES).max(PAGE_BYTES)).map(Self)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

thread_local! {
    static READ_BUFFER: RefCell<Option<PageBuf>> = const { RefCell::new(None) };
}

/// Lends `use_buffer` page-aligned memory of at least `len_bytes`, this thread's own where it suffices.
pub(super) fn with_page_buffer<T>(len_bytes: usize, use_buffer: impl FnOnce(&mut [u8]) -> T) -> io::Result<T> {
    let kept = READ_BUFFER.take().filter(|buffer| buffer.bytes().len() >= len_bytes);
    let mut buffer = match kept {
        Some(buffer) => buffer,
        None => PageBuf::zeroed(len_bytes)?,
    };
    let result = use_buffer(buffer.bytes_mut());
    if buffer.bytes().len() <= KEPT_BUFFER_BYTES {
        READ_BUFFER.set(Some(buffer));
    }
    Ok(result)
}

/// An open segment file.
#[derive(Debug)]
pub(super) struct SegmentFile {
    buffered: File,
    direct: Option<File>,
}

impl SegmentFile {
    /// Creates the file and takes `size_bytes` for it from the file system, so that writing cannot run out of space.
    pub(super) fn create(path: &Path, size_bytes: u64, file_io: FileIo) -> io::Result<Self> {
        let buffered = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        if let Err(error) = allocate(&buffered, size_bytes) {
            drop(buffered);
            std::fs::remove_file(path)?;
            return Err(error);
        }
        Ok(Self { direct: open_direct(path, file_io), buffered })
    }

    pub(super) fn open(path: &Path, file_io: FileIo) -> io::Result<Self> {
        let buffered = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { direct: open_direct(path, file_io), buffered })
    }

    /// Whether reads and writes pass by the page cache.
    pub(super) fn is_direct(&self) -> bool {
        self.direct.is_some()
    }

    pub(super) fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.buffered.metadata()?.len())
    }

    /// Takes the space up to `size_bytes` from the file system.
    pub(super) fn extend(&self, size_bytes: u64) -> io::Result<()> {
        allocate(&self.buffered, size_bytes)
    }

    /// Cuts the file to `size_bytes` and gives the rest back.
    pub(super) fn truncate(&self, size_bytes: u64) -> io::Result<()> {
        self.buffered.set_len(size_bytes)
    }

    /// Writes whole pages of page-aligned memory at a page-aligned place.
    pub(super) fn write_pages(&self, pages: &[u8], offset_bytes: u64) -> io::Result<()> {
        debug_assert!(pages.len().is_multiple_of(PAGE_BYTES) && offset_bytes.is_multiple_of(PAGE_BYTES as u64));
        let file = self.direct.as_ref().unwrap_or(&self.buffered);
        match file.write_all_at(pages, offset_bytes) {
            Err(error) if self.refuses_direct(&error) => self.buffered.write_all_at(pages, offset_bytes),
            other => other,
        }
    }

    /// Reads through the page cache; for opening and scanning.
    pub(super) fn read_buffered(&self, bytes: &mut [u8], offset_bytes: u64) -> io::Result<usize> {
        read_up_to(&self.buffered, bytes, offset_bytes)
    }

    /// Lends `use_bytes` the `len_bytes` from `offset_bytes` on. Bytes before `sure_end` do not change any more.
    pub(super) fn read_with<T>(
        self: &Arc<Self>,
        offset_bytes: u64,
        len_bytes: usize,
        sure_end: u64,
        use_bytes: impl FnOnce(&[u8]) -> T,
    ) -> io::Result<T> {
        let lead = (offset_bytes % PAGE_BYTES as u64) as usize;
        let start = offset_bytes - lead as u64;
        let wanted = lead + len_bytes;
        let span = wanted.next_multiple_of(PAGE_BYTES);
        #[cfg(target_os = "linux")]
        if span >= ahead::WORTHWHILE_BYTES && self.is_direct() {
            let next = start + (wanted - wanted % PAGE_BYTES) as u64;
            if let Some(Ok(fetched)) = ahead::fetch(self, start, span, next, sure_end) {
                let used = fetched.bytes().get(lead..wanted).map(use_bytes);
                ahead::give_back(fetched);
                return used.ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
            }
        }
        let _ = sure_end;
        with_page_buffer(span, |buffer| {
            let file = self.direct.as_ref().unwrap_or(&self.buffered);
            let got = match read_up_to(file, &mut buffer[..span], start) {
                Err(error) if self.refuses_direct(&error) => read_up_to(&self.buffered, &mut buffer[..span], start)?,
                other => other?,
            };
            if got < wanted {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Ok(use_bytes(&buffer[lead..wanted]))
        })?
    }

    /// What it is read through past the page cache, if it is.
    #[cfg(target_os = "linux")]
    pub(super) fn direct_descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.direct.as_ref().map(AsFd::as_fd)
    }

    /// What it syncs, and what it writes past the page cache with.
    #[cfg(test)]
    pub(super) fn descriptors(&self) -> (std::os::fd::RawFd, Option<std::os::fd::RawFd>) {
        use std::os::fd::AsRawFd;
        (self.buffered.as_raw_fd(), self.direct.as_ref().map(AsRawFd::as_raw_fd))
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.buffered.sync_data()
    }

    /// Some file systems open a file for direct I/O and then refuse to do it.
    fn refuses_direct(&self, error: &io::Error) -> bool {
        self.direct.is_some() && error.raw_os_error() == Some(libc::EINVAL)
    }
}

fn read_up_to(file: &File, bytes: &mut [u8], offset_bytes: u64) -> io::Result<usize> {
    let mut got = 0;
    while got < bytes.len() {
        match file.read_at(&mut bytes[got..], offset_bytes + got as u64) {
            Ok(0) => break,
            Ok(read) => got += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if got % PAGE_BYTES != 0 {
            break;
        }
    }
    Ok(got)
}

#[cfg(target_os = "linux")]
fn open_direct(path: &Path, file_io: FileIo) -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let wanted = file_io == FileIo::Direct;
    wanted.then(|| OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(path).ok()).flatten()
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_path: &Path, _file_io: FileIo) -> Option<File> {
    None
}

#[cfg(target_os = "linux")]
fn allocate(file: &File, size_bytes: u64) -> io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::empty(), 0, size_bytes) {
        // Not every file system can set space aside; then a full disk shows when the records are written.
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(size_bytes),
        other => Ok(other?),
    }
}

#[cfg(not(target_os = "linux"))]
fn allocate(file: &File, size_bytes: u64) -> io::Result<()> {
    file.set_len(size_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_in_pages_is_read_from_any_byte_on() {
        let dir = tempfile::tempdir().unwrap();
        for file_io in [FileIo::Direct, FileIo::Buffered] {
            let path = dir.path().join(format!("{file_io:?}"));
            let file = Arc::new(SegmentFile::create(&path, 4 * PAGE_BYTES as u64, file_io).unwrap());
            let mut pages = PageBuf::zeroed(2 * PAGE_BYTES).unwrap();
            pages.bytes_mut().iter_mut().enumerate().for_each(|(i, byte)| *byte = (i * 7) as u8);
            file.write_pages(pages.bytes(), PAGE_BYTES as u64).unwrap();
            for (offset, len) in [(4096, 8192), (5000, 10), (4097, 4096), (12287, 1)] {
                let same =
                    file.read_with(offset, len, 0, |read| read == &pages.bytes()[offset as usize - 4096..][..len]);
                assert!(same.unwrap(), "{file_io:?} {offset} {len}");
            }
            file.truncate(5000).unwrap();
            assert!(file.read_with(4990, 10, 0, |_| ()).is_ok());
            assert!(file.read_with(4990, 11, 0, |_| ()).is_err());
        }
    }
}
