//! How a kernel field is read.
//!
//! Through an address by `bpf_probe_read_kernel` (kernel 5.5), which faults safely, so a stale
//! address yields an error or old bytes, never a crash. Through a pointer whose type the
//! verifier knows by a plain load, which costs next to nothing: the program's own socket and task,
//! where the kernel lets these programs have them ([`sockway_common::config::Config::typed`]).

use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_skc_to_tcp_sock};
use sockway_common::config::UNKNOWN;

use super::config;

/// What can be read: unsigned integers, and several of them side by side.
pub(crate) trait Unsigned: Copy + Default {}
impl Unsigned for u8 {}
impl Unsigned for u16 {}
impl Unsigned for u32 {}
impl Unsigned for u64 {}
impl Unsigned for [u64; 2] {}
impl Unsigned for [u64; 3] {}

/// Something in the kernel that has fields.
pub(crate) trait Base: Copy {
    /// Reads an unsigned integer at an offset; `None` where that cannot be done.
    fn get<T: Unsigned>(self, offset: u32) -> Option<T>;

    /// The same with a value for where that cannot be done.
    ///
    /// Not by way of an `Option`: the compiler would carry the undefined half of a `None`
    /// through registers, which the verifier refuses.
    fn get_or<T: Unsigned>(self, offset: u32, otherwise: T) -> T;

    /// What the pointer at an offset points to; `None` as for [`Base::get`], or for null.
    fn follow(self, offset: u32) -> Option<Self>;
}

/// An address.
impl Base for u64 {
    #[inline(always)]
    fn get<T: Unsigned>(self, offset: u32) -> Option<T> {
        read(self, offset)
    }

    #[inline(always)]
    fn get_or<T: Unsigned>(self, offset: u32, otherwise: T) -> T {
        let mut value = T::default();
        if read_into(self, offset, &mut value) {
            value
        } else {
            otherwise
        }
    }

    #[inline(always)]
    fn follow(self, offset: u32) -> Option<Self> {
        match read(self, offset) {
            Some(0) | None => None,
            pointer => pointer,
        }
    }
}

/// The socket that the program runs for, or what its fields point to.
#[derive(Clone, Copy)]
pub(crate) struct Own(u64);

impl Own {
    /// The socket of a context, which is not null; `address`: where it lies, for kernels
    /// without typed pointers. `None` where it is no TCP socket.
    #[inline(always)]
    pub(crate) fn of(sk: *mut c_void, address: impl FnOnce() -> u64) -> Option<Self> {
        if config!(typed) == 0 {
            return Some(Self(address()));
        }
        // SAFETY: `sk` is the non-null socket of the running context. Kernel 5.9 (af7ec1383361).
        let tcp = unsafe { bpf_skc_to_tcp_sock(sk) };
        if tcp.is_null() {
            return None;
        }
        Some(Self(tcp as u64))
    }

    /// Where it lies.
    #[inline(always)]
    pub(crate) const fn address(self) -> u64 {
        self.0
    }
}

impl Base for Own {
    #[inline(always)]
    fn get<T: Unsigned>(self, offset: u32) -> Option<T> {
        if config!(typed) == 0 {
            return read(self.0, offset);
        }
        load(self.0, offset)
    }

    #[inline(always)]
    fn get_or<T: Unsigned>(self, offset: u32, otherwise: T) -> T {
        if config!(typed) == 0 {
            return self.0.get_or(offset, otherwise);
        }
        if offset == UNKNOWN {
            return otherwise;
        }
        load(self.0, offset).unwrap_or(otherwise)
    }

    #[inline(always)]
    fn follow(self, offset: u32) -> Option<Self> {
        let pointer: u64 = self.get(offset)?;
        if pointer == 0 {
            return None;
        }
        Some(Self(pointer))
    }
}

/// Reads through a pointer whose type the verifier knows.
#[inline(always)]
pub(super) fn load<T: Unsigned>(pointer: u64, offset: u32) -> Option<T> {
    if offset == UNKNOWN {
        return None;
    }
    let field = pointer.wrapping_add(u64::from(offset)) as *const T;
    // SAFETY: the verifier admits this load only where the type has a field there; where the
    // pointer is stale or null the kernel gives 0 (exception table). `T` is an unsigned integer.
    Some(unsafe { core::ptr::read_volatile(field) })
}

/// Reads an unsigned integer at an offset from an address.
#[inline(always)]
pub(crate) fn read<T: Unsigned>(base: u64, offset: u32) -> Option<T> {
    let mut value = T::default();
    if read_into(base, offset, &mut value) {
        Some(value)
    } else {
        None
    }
}

/// Reads an unsigned integer, or several; false where that cannot be done.
#[inline(always)]
pub(super) fn read_into<T: Unsigned>(base: u64, offset: u32, value: &mut T) -> bool {
    if offset == UNKNOWN || base == 0 {
        return false;
    }
    #[expect(clippy::cast_possible_truncation, reason = "24 at most")]
    let size = size_of::<T>() as u32;
    let from = base.wrapping_add(u64::from(offset)) as *const c_void;
    // SAFETY: `value` is a live local of `size_of::<T>()` bytes that any bit
    // pattern is valid for (unsigned integers only); the helper checks `from` itself.
    let failed = unsafe { bpf_probe_read_kernel(core::ptr::from_mut(value).cast(), size, from) };
    failed == 0
}
