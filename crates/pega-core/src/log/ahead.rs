//! Reading large records through io_uring: as several requests at once, and ahead of a thread that reads in order.
//!
//! A disk gives its best only when it always has requests waiting. One request of a megabyte at a time came at
//! 1.6 GB/s on the disk this was written on, four quarters of it at 2.3 GB/s; and while a thread copies and sums what
//! it has read, the disk would stand still.

use std::cell::RefCell;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Weak};

use io_uring::{IoUring, opcode, types};

use super::file::{PAGE_BYTES, PageBuf, SegmentFile};

/// The size of one request, in bytes, while there are no more than [`MAX_REQUESTS`] of them.
const REQUEST_BYTES: usize = 256 << 10;

/// Requests in flight at once.
const MAX_REQUESTS: usize = 16;

/// Below this size one request is as good, in bytes.
pub(super) const WORTHWHILE_BYTES: usize = 2 * REQUEST_BYTES;

/// A thread keeps memory for reading, and reads ahead, up to this size, in bytes.
const MAX_AHEAD_BYTES: usize = 4 << 20;

/// Bytes of a file that were read.
pub(super) struct Fetched {
    pages: PageBuf,
    /// Where in `pages` the bytes asked for begin, and where what was read ends.
    from: usize,
    end: usize,
}

impl Fetched {
    /// What was read from the place asked for on: what was asked for, unless the file ends before.
    pub(super) fn bytes(&self) -> &[u8] {
        self.pages.bytes().get(self.from..self.end).unwrap_or_default()
    }
}

/// A read that the kernel is at: it writes to `pages` until [`Reader::finish`] has seen every request complete.
struct Flight {
    /// Weak, so that a thread that reads no more does not keep a removed file on the disk.
    file: Weak<SegmentFile>,
    start: u64,
    pages: PageBuf,
    /// What each request asked for, in bytes.
    wanted: [usize; MAX_REQUESTS],
    requests: usize,
}

/// What a thread reads with.
struct Reader {
    ring: IoUring,
    /// False once the kernel took no requests.
    is_usable: bool,
    /// A fork inherits the ring's descriptor but not its memory.
    pid: u32,
    flight: Option<Flight>,
    spare: Vec<PageBuf>,
    /// Where the last read would go on: the file's address, and the page.
    next: (usize, u64),
}

thread_local! {
    static READER: RefCell<Option<Reader>> = const { RefCell::new(None) };
}

/// Reads `len` bytes of `file` from `start` on, both multiples of a page, past the page cache. Where `next` is the
/// page on which the bytes behind begin and the last read ended at `start`, goes on to read these up to `sure_end`,
/// before which the file does not change any more. `None` where there is no io_uring.
pub(super) fn fetch(
    file: &Arc<SegmentFile>,
    start: u64,
    len: usize,
    next: u64,
    sure_end: u64,
) -> Option<io::Result<Fetched>> {
    READER.with_borrow_mut(|kept| {
        let reader = Reader::of_this_process(kept)?;
        let in_order = reader.next == (address(file), start);
        let fetched = match reader.take_ahead(file, start, len) {
            Some(fetched) => Ok(fetched),
            None => reader.begin(file, start, len).then(|| reader.finish(start))??,
        };
        reader.next = (address(file), next);
        // The next record is likely of the same size; it may begin anywhere on its first page.
        let ahead = len + PAGE_BYTES;
        if in_order && ahead <= MAX_AHEAD_BYTES && next + ahead as u64 <= sure_end {
            reader.begin(file, next, ahead);
        }
        Some(fetched)
    })
}

/// Keeps the memory of what was read for the next read.
pub(super) fn give_back(fetched: Fetched) {
    READER.with_borrow_mut(|kept| {
        if let Some(reader) = kept {
            reader.keep(fetched.pages);
        }
    });
}

fn address(file: &Arc<SegmentFile>) -> usize {
    Arc::as_ptr(file) as usize
}

impl Reader {
    fn of_this_process(kept: &mut Option<Self>) -> Option<&mut Self> {
        let pid = std::process::id();
        if let Some(forked) = kept.take_if(|reader| reader.pid != pid) {
            // Its memory is the parent's: nothing of it may be touched, not even to be unmapped.
            std::mem::forget(forked);
        }
        if kept.is_none() {
            let ring = IoUring::new(MAX_REQUESTS as u32).ok()?;
            *kept = Some(Self { ring, is_usable: true, pid, flight: None, spare: Vec::new(), next: (0, 0) });
        }
        kept.as_mut().filter(|reader| reader.is_usable)
    }

    fn keep(&mut self, pages: PageBuf) {
        if self.spare.len() < 2 && pages.bytes().len() <= MAX_AHEAD_BYTES {
            self.spare.push(pages);
        }
    }

    /// Ends the read that is under way, if any, and gives what it read if that is what is asked for.
    fn take_ahead(&mut self, file: &Arc<SegmentFile>, start: u64, len: usize) -> Option<Fetched> {
        let flight = self.flight.as_ref()?;
        let is_same = flight.file.as_ptr() == Arc::as_ptr(file);
        let ahead_start = flight.start;
        let fetched = self.finish(start)?;
        if is_same
            && start >= ahead_start
            && let Ok(fetched) = fetched
        {
            if fetched.bytes().len() >= len {
                return Some(fetched);
            }
            self.keep(fetched.pages);
        }
        None
    }

    /// Asks for a range; false where the kernel takes no requests.
    fn begin(&mut self, file: &Arc<SegmentFile>, start: u64, len: usize) -> bool {
        let Some(fd) = file.direct_descriptor() else { return false };
        let fitting = self.spare.iter().position(|pages| pages.bytes().len() >= len);
        let pages = fitting.map(|i| Ok(self.spare.swap_remove(i))).unwrap_or_else(|| PageBuf::zeroed(len));
        let Ok(mut pages) = pages else { return false };
        let request_bytes = REQUEST_BYTES.max(len.div_ceil(MAX_REQUESTS).next_multiple_of(PAGE_BYTES));
        let mut wanted = [0; MAX_REQUESTS];
        let mut requests = 0;
        for (i, request) in pages.bytes_mut()[..len].chunks_mut(request_bytes).enumerate() {
            wanted[i] = request.len();
            let len = u32::try_from(request.len()).expect("a record is below 4 GiB");
            let entry = opcode::Read::new(types::Fd(fd.as_raw_fd()), request.as_mut_ptr(), len)
                .offset(start + (i * request_bytes) as u64)
                .build()
                .user_data(i as u64);
            // SAFETY: the flight keeps the memory until `finish` has seen every request complete. The file may close
            // before that: what is read then belongs to no file that anyone can ask for.
            unsafe { self.ring.submission().push(&entry) }.expect("the ring is empty and has room for all");
            requests = i + 1;
        }
        match self.ring.submit() {
            Ok(submitted) if submitted == requests => {}
            Err(error) if !is_passing(&error) && self.ring.submission().len() == requests => {
                // What is queued still names the memory, and must never be submitted.
                self.is_usable = false;
                return false;
            }
            // The rest is submitted when it is waited for.
            Ok(_) | Err(_) => {}
        }
        self.flight = Some(Flight { file: Arc::downgrade(file), start, pages, wanted, requests });
        true
    }

    /// Waits until the read that is under way is complete; gives its bytes from `from` on.
    fn finish(&mut self, from: u64) -> Option<io::Result<Fetched>> {
        let flight = self.flight.take()?;
        let mut results = [0_i32; MAX_REQUESTS];
        let mut done = 0;
        while done < flight.requests {
            if let Err(error) = self.ring.submit_and_wait(1)
                && !is_passing(&error)
            {
                // The kernel has the memory and does not say when it is done with it.
                std::process::abort();
            }
            for completion in self.ring.completion() {
                results[completion.user_data() as usize] = completion.result();
                done += 1;
            }
        }
        let from = usize::try_from(from.saturating_sub(flight.start)).unwrap_or(usize::MAX);
        match contiguous(&results[..flight.requests], &flight.wanted) {
            Ok(end) => Some(Ok(Fetched { pages: flight.pages, from, end })),
            Err(error) => {
                self.keep(flight.pages);
                Some(Err(error))
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.pid == std::process::id() {
            let _ = self.finish(0);
        }
    }
}

/// Whether the call may succeed if it is made again.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

/// How many bytes there are before the first gap.
fn contiguous(results: &[i32], wanted: &[usize]) -> io::Result<usize> {
    let mut got = 0;
    for (result, wanted) in results.iter().zip(wanted) {
        match usize::try_from(*result) {
            Ok(read) => {
                got += read;
                if read < *wanted {
                    break;
                }
            }
            Err(_) => return Err(io::Error::from_raw_os_error(-result)),
        }
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::options::FileIo;

    const FILE_BYTES: usize = 12 << 20;

    /// A file of direct I/O, if this file system has it, and what it holds.
    fn file() -> (tempfile::TempDir, Option<Arc<SegmentFile>>, PageBuf) {
        let dir = tempfile::tempdir().unwrap();
        let file = SegmentFile::create(&dir.path().join("file"), FILE_BYTES as u64, FileIo::Direct).unwrap();
        let mut pages = PageBuf::zeroed(FILE_BYTES).unwrap();
        pages.bytes_mut().iter_mut().enumerate().for_each(|(i, byte)| *byte = (i / 4096 + i % 251) as u8);
        file.write_pages(pages.bytes(), 0).unwrap();
        let file = file.is_direct().then(|| Arc::new(file));
        (dir, file, pages)
    }

    fn assert_reads(file: &Arc<SegmentFile>, content: &[u8], offset: usize, len: usize, sure_end: usize) -> bool {
        let next = (offset + len) as u64 / PAGE_BYTES as u64 * PAGE_BYTES as u64;
        let Some(fetched) = fetch(file, offset as u64, len, next, sure_end as u64) else { return false };
        let fetched = fetched.unwrap();
        let there = content.len().saturating_sub(offset).min(len);
        assert!(fetched.bytes().len() >= there);
        assert!(fetched.bytes()[..there] == content[offset..offset + there], "{len} bytes at {offset}");
        give_back(fetched);
        true
    }

    #[test]
    fn ranges_of_any_size_are_what_the_file_holds() {
        let (_dir, Some(file), pages) = file() else { return };
        for (offset, len) in [(0, 1 << 20), (4096, 5 << 20), (8192, FILE_BYTES - 8192), (FILE_BYTES - 4096, 1 << 20)] {
            if !assert_reads(&file, pages.bytes(), offset, len, FILE_BYTES) {
                return;
            }
        }
    }

    #[test]
    fn reading_in_order_and_then_elsewhere_gives_what_the_file_holds() {
        let (_dir, Some(file), pages) = file() else { return };
        let (_other_dir, Some(other), _) = self::file() else { return };
        let len = 600 << 10;
        for round in 0..3 {
            for i in 0..15 {
                if !assert_reads(&file, pages.bytes(), i * len, len, FILE_BYTES - round * (1 << 20)) {
                    return;
                }
            }
            assert_reads(&other, pages.bytes(), 0, len, FILE_BYTES);
            assert_reads(&file, pages.bytes(), 4096, len, FILE_BYTES);
        }
    }

    #[test]
    fn a_thread_may_end_while_it_reads_ahead() {
        let (_dir, Some(file), pages) = file() else { return };
        std::thread::scope(|scope| {
            scope.spawn(|| (0..3).all(|i| assert_reads(&file, pages.bytes(), i << 20, 1 << 20, FILE_BYTES)));
        });
    }
}
