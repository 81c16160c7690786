//! Tensors by DLPack: torch has no buffer protocol, and bfloat16 no numpy type.

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

/// The head of DLPack's `DLManagedTensor` up to its deleter, as `dlpack.h` lays it out.
#[repr(C)]
struct ManagedTensor {
    data: *mut c_void,
    device_type: i32,
    device_id: i32,
    ndim: i32,
    type_code: u8,
    type_bits: u8,
    type_lanes: u16,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
    manager: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut ManagedTensor)>,
}

/// `kDLCPU`, `kDLCUDAHost` and `kDLROCMHost`: memory that the processor can reach.
const HOST_DEVICES: [i32; 3] = [1, 3, 11];
const FRESH: &CStr = c"dltensor";
const TAKEN: &CStr = c"used_dltensor";

/// A tensor in the processor's memory, kept alive until dropped.
pub(crate) struct Tensor {
    managed: NonNull<ManagedTensor>,
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the exporter keeps the memory in place until its deleter is called, which attaches to the interpreter first.
unsafe impl Send for Tensor {}
// SAFETY: as above.
unsafe impl Sync for Tensor {}

impl Tensor {
    /// Borrows the memory of a tensor; none if `object` is none.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let Ok(export) = object.getattr("__dlpack__") else { return Ok(None) };
        let (device, _): (i32, i32) = object.call_method0("__dlpack_device__")?.extract()?;
        if !HOST_DEVICES.contains(&device) {
            return Err(PyTypeError::new_err("the tensor is not in the CPU's memory; pass tensor.cpu()"));
        }
        Self::take(&export.call0()?).map(Some)
    }

    fn take(capsule: &Bound<'_, PyAny>) -> PyResult<Self> {
        // SAFETY: asks for the pointer under its name, and gets null for any other object.
        let pointer = unsafe { ffi::PyCapsule_GetPointer(capsule.as_ptr(), FRESH.as_ptr()) };
        let Some(managed) = NonNull::new(pointer.cast::<ManagedTensor>()) else {
            return Err(PyErr::fetch(capsule.py()));
        };
        // SAFETY: a capsule of this name holds a managed tensor, whose shape and strides have `ndim` items.
        let extent = unsafe { extent(managed.as_ref()) };
        let Some((start, len)) = extent else {
            return Err(PyTypeError::new_err("the tensor is not contiguous; pass tensor.contiguous()"));
        };
        // SAFETY: renaming it is how a consumer takes a tensor over; the capsule will not delete it any more.
        if unsafe { ffi::PyCapsule_SetName(capsule.as_ptr(), TAKEN.as_ptr()) } != 0 {
            return Err(PyErr::fetch(capsule.py()));
        }
        Ok(Self { managed, start, len })
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

/// Where the elements lie, if they lie in one run.
///
/// # Safety
/// `shape` holds `ndim` items, and so does `strides` unless it is null.
unsafe fn extent(tensor: &ManagedTensor) -> Option<(NonNull<u8>, usize)> {
    let ndim = usize::try_from(tensor.ndim).ok()?;
    let mut elements: i64 = 1;
    for axis in (0..ndim).rev() {
        // SAFETY: the caller's promise.
        let (size, stride) = unsafe {
            let stride = if tensor.strides.is_null() { elements } else { *tensor.strides.add(axis) };
            (*tensor.shape.add(axis), stride)
        };
        if size > 1 && stride != elements {
            return None;
        }
        elements = elements.checked_mul(size)?;
    }
    let bits = u64::from(tensor.type_bits) * u64::from(tensor.type_lanes) * u64::try_from(elements).ok()?;
    let offset = usize::try_from(tensor.byte_offset).ok()?;
    let start = NonNull::new(tensor.data.cast::<u8>().wrapping_add(offset)).unwrap_or(NonNull::dangling());
    Some((start, usize::try_from(bits.div_ceil(8)).ok()?))
}

impl Drop for Tensor {
    fn drop(&mut self) {
        Python::attach(|_| {
            // SAFETY: taken over when this was made, so this is the one call of its deleter.
            unsafe {
                if let Some(deleter) = self.managed.as_ref().deleter {
                    deleter(self.managed.as_ptr());
                }
            }
        });
    }
}
