//! The memory behind an arena: allocated and faulted in when it is made, and never resized.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::mm::{Advice, MapFlags, ProtFlags};

use crate::error::{Error, ErrorKind, Result};

/// Whether other processes can map the arena.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Only this process; huge pages where the system offers them.
    #[default]
    Private,
    /// A memory file that can be handed to other processes, sealed against resizing.
    Shared,
}

/// What a mapping may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads only; a write faults.
    Read,
    /// Reads and writes.
    ReadWrite,
}

/// One run of mapped memory, unmapped when dropped.
pub struct Mapping {
    start: NonNull<u8>,
    size_bytes: usize,
    file: Option<OwnedFd>,
}

// SAFETY: a mapping is an address and a length; who may touch which bytes when is decided by the owners of extents.
unsafe impl Send for Mapping {}
// SAFETY: as above; `Mapping` itself hands out addresses only.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `size_bytes` of zeroed memory, every page of it present.
    ///
    /// # Errors
    /// `MemoryFull` if the system does not have it, `InvalidArgument` if it is zero.
    pub fn new(size_bytes: usize, sharing: Sharing) -> Result<Self> {
        if size_bytes == 0 {
            return Err(Error::invalid("an arena needs at least one byte"));
        }
        let mapping = match sharing {
            Sharing::Private => Self::map_private(size_bytes)?,
            Sharing::Shared => Self::map_shared(size_bytes)?,
        };
        mapping.prefault().map_err(|error| refused(size_bytes, error))?;
        Ok(mapping)
    }

    fn map_private(size_bytes: usize) -> Result<Self> {
        // SAFETY: a fresh anonymous mapping at an address of the system's choice.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                std::ptr::null_mut(),
                size_bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }
        .map_err(|error| refused(size_bytes, error.into()))?;
        let mapping = Self::adopt(start, size_bytes, None);
        #[cfg(target_os = "linux")]
        mapping.advise_huge_pages();
        Ok(mapping)
    }

    #[cfg(target_os = "linux")]
    fn map_shared(size_bytes: usize) -> Result<Self> {
        use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
        let refuse = |error: rustix::io::Errno| refused(size_bytes, error.into());
        let file = rustix::fs::memfd_create("pegaflow-arena", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .map_err(refuse)?;
        rustix::fs::ftruncate(&file, size_bytes as u64).map_err(refuse)?;
        // Allocated here, so that no later access can find the system out of memory and die of SIGBUS.
        rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, size_bytes as u64).map_err(refuse)?;
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).map_err(refuse)?;
        Self::of_file(file, size_bytes, Access::ReadWrite)
    }

    #[cfg(not(target_os = "linux"))]
    fn map_shared(_size_bytes: usize) -> Result<Self> {
        Err(Error::invalid("a shared arena needs a sealed memory file, which only Linux has; use a private one"))
    }

    /// Maps the first `size_bytes` of `file`, which must be at least that long for as long as the mapping lives.
    ///
    /// # Errors
    /// `Io` if the system refuses the mapping.
    pub fn of_file(file: OwnedFd, size_bytes: usize, access: Access) -> Result<Self> {
        let protection = match access {
            Access::Read => ProtFlags::READ,
            Access::ReadWrite => ProtFlags::READ | ProtFlags::WRITE,
        };
        // SAFETY: a fresh mapping at an address of the system's choice.
        let start =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), size_bytes, protection, MapFlags::SHARED, &file, 0) }
                .map_err(|error| Error::io("cannot map the arena", error.into()).with("size_bytes", size_bytes))?;
        Ok(Self::adopt(start, size_bytes, Some(file)))
    }

    fn adopt(start: *mut std::ffi::c_void, size_bytes: usize, file: Option<OwnedFd>) -> Self {
        let start = NonNull::new(start.cast()).expect("the system never maps address zero unasked");
        Self { start, size_bytes, file }
    }

    #[cfg(target_os = "linux")]
    fn advise_huge_pages(&self) {
        // SAFETY: the range is this mapping. Refusal only means smaller pages.
        let _ = unsafe { rustix::mm::madvise(self.start.as_ptr().cast(), self.size_bytes, Advice::LinuxHugepage) };
    }

    /// Faults every page in for writing, so that no put pays for it.
    fn prefault(&self) -> std::io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            // SAFETY: the range is this mapping, which nobody else knows yet.
            let populated =
                unsafe { rustix::mm::madvise(self.start.as_ptr().cast(), self.size_bytes, Advice::LinuxPopulateWrite) };
            match populated {
                Ok(()) => return Ok(()),
                // Kernels before 5.14 do not know the advice.
                Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for offset in (0..self.size_bytes).step_by(rustix::param::page_size()) {
            // SAFETY: within this mapping, which nobody else knows yet.
            unsafe { self.start.add(offset).write_volatile(0) };
        }
        Ok(())
    }

    /// The first byte.
    #[must_use]
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// How many bytes there are.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// The memory file, if the arena is shared.
    #[must_use]
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_ref().map(AsFd::as_fd)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by this type with this length, and nothing borrowed from it outlives it.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.size_bytes) };
    }
}

#[cold]
fn refused(size_bytes: usize, error: std::io::Error) -> Error {
    Error::new(ErrorKind::MemoryFull, "the system refused the memory of the arena; ask for fewer memory_bytes")
        .with("memory_bytes", size_bytes)
        .caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_shared_mapping_cannot_be_resized() {
        let mapping = Mapping::new(1 << 16, Sharing::Shared).unwrap();
        let file = mapping.file().unwrap();
        assert!(rustix::fs::ftruncate(file, 0).is_err());
        assert!(rustix::fs::ftruncate(file, 1 << 17).is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn two_mappings_of_one_file_show_the_same_bytes() {
        let writer = Mapping::new(1 << 16, Sharing::Shared).unwrap();
        let file = writer.file().unwrap().try_clone_to_owned().unwrap();
        let reader = Mapping::of_file(file, 1 << 16, Access::Read).unwrap();
        // SAFETY: both mappings are alive and this thread alone uses them.
        unsafe {
            writer.start().add(4097).write(42);
            assert_eq!(reader.start().add(4097).read(), 42);
        }
    }

    #[test]
    fn memory_the_system_does_not_have_is_an_error() {
        let error = Mapping::new(1 << 50, Sharing::Private).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::MemoryFull);
        assert_eq!(Mapping::new(0, Sharing::Private).err().unwrap().kind(), ErrorKind::InvalidArgument);
    }
}
