//! How a kernel field is read.
//!
//! Through an address by `bpf_probe_read_kernel` (kernel 5.5), which faults safely, so a stale
//! address yields an error or old bytes, never a crash. Through a pointer whose type the
//! verifier knows by a plain load, which costs next to nothing and faults as safely: the program's
//! own socket and task, and what addresses are cast to, as far as the kernel
//! allows it ([`sockway_common::config::typed`]).

use core::arch::asm;
use core::ffi::c_void;

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_skc_to_tcp_sock};
use sockway_common::cast;
use sockway_common::config::typed;
use sockway_common::offsets::UNKNOWN;

use super::config;

/// What can be read: unsigned integers, and several of them side by side.
pub(crate) trait Unsigned: Copy + Default {}
impl Unsigned for u8 {}
impl Unsigned for u16 {}
impl Unsigned for u32 {}
impl Unsigned for u64 {}
impl Unsigned for [u64; 3] {}

/// A pointer whose type the verifier knows where it goes as far as `LEVEL` of
/// [`sockway_common::config::typed`]; elsewhere an address.
#[derive(Clone, Copy)]
pub(crate) struct Typed<const LEVEL: u32>(u64);

/// The socket that the program runs for, or what its fields point to.
pub(crate) type Own = Typed<{ typed::OWN }>;
/// Something else, or what its fields point to.
pub(crate) type At = Typed<{ typed::ANY }>;

impl<const LEVEL: u32> Typed<LEVEL> {
    /// Where it lies.
    #[inline(always)]
    pub(crate) const fn address(self) -> u64 {
        self.0
    }

    /// Reads an unsigned integer at an offset; `None` where that cannot be done.
    #[inline(always)]
    pub(crate) fn get<T: Unsigned>(self, offset: u32) -> Option<T> {
        if config!(typed) < LEVEL {
            return read(self.0, offset);
        }
        if offset == UNKNOWN {
            return None;
        }
        Some(load(self.0, offset))
    }

    /// The same with a value for where that cannot be done.
    ///
    /// Not by way of an `Option`: the compiler would carry the undefined half of a `None`
    /// through registers, which the verifier refuses.
    #[inline(always)]
    pub(crate) fn get_or<T: Unsigned>(self, offset: u32, otherwise: T) -> T {
        if config!(typed) < LEVEL {
            return read_or(self.0, offset, otherwise);
        }
        if offset == UNKNOWN {
            return otherwise;
        }
        load(self.0, offset)
    }

    /// What the pointer at an offset points to; `None` as for [`Self::get`], or for null.
    #[inline(always)]
    pub(crate) fn follow(self, offset: u32) -> Option<Self> {
        let pointer: u64 = self.get(offset)?;
        if pointer == 0 {
            return None;
        }
        Some(Self(pointer))
    }
}

impl Own {
    /// The socket of a context, which is not null; `address`: where it lies, for kernels
    /// without typed pointers. `None` where it is no TCP socket.
    #[inline(always)]
    pub(crate) fn of(sk: *mut c_void, address: impl FnOnce() -> u64) -> Option<Self> {
        if config!(typed) < typed::OWN {
            return Some(Self(address()));
        }
        // SAFETY: `sk` is the non-null socket of the running context. Kernel 5.9 (af7ec1383361).
        let tcp = unsafe { bpf_skc_to_tcp_sock(sk) };
        if tcp.is_null() {
            return None;
        }
        Some(Self(tcp as u64))
    }
}

/// Where a socket lies that a look-up gave: its pointer as a number, which may be calculated with.
/// The verifier refuses that of the pointer itself, but lets the kernel copy it.
#[inline(always)]
pub(crate) fn address_of(sk: *mut c_void) -> u64 {
    read((&raw const sk) as u64, 0).unwrap_or(0)
}

impl Own {
    /// The running task, at the address that the kernel's helper of the same level gave.
    #[inline(always)]
    pub(crate) const fn task(address: u64) -> Self {
        Self(address)
    }
}

impl At {
    /// The TCP socket at an address.
    #[inline(always)]
    pub(crate) fn sock(address: u64) -> Self {
        Self::new::<{ cast::TCP_SOCK }>(address)
    }

    /// What lies at an address, by its index in [`cast::TYPES`].
    #[inline(always)]
    pub(crate) fn new<const TYPE: u32>(address: u64) -> Self {
        if config!(typed) < typed::ANY {
            return Self(address);
        }
        let pointer: u64;
        // SAFETY: touches no memory and only registers that are named here, which are all that a
        // call may change: user space makes it one (`sockway_common::cast`). As it stands it moves a number.
        unsafe {
            asm!(
                "r2 = {mark}",
                "r0 = r1",
                mark = const cast::MARK | TYPE,
                inlateout("r1") address => _,
                lateout("r0") pointer,
                lateout("r2") _,
                lateout("r3") _,
                lateout("r4") _,
                lateout("r5") _,
                options(pure, nomem, nostack),
            );
        }
        Self(pointer)
    }
}

/// Reads through a pointer whose type the verifier knows; the offset is known.
#[inline(always)]
pub(super) fn load<T: Unsigned>(pointer: u64, offset: u32) -> T {
    let field = pointer.wrapping_add(u64::from(offset)) as *const T;
    // SAFETY: the verifier admits this load only where the type has a field there; where the
    // pointer is stale or null the kernel gives 0 (exception table). `T` is an unsigned integer.
    unsafe { core::ptr::read_volatile(field) }
}

/// Reads an unsigned integer at an offset from an address; `None` where that cannot be done.
#[inline(always)]
pub(crate) fn read<T: Unsigned>(base: u64, offset: u32) -> Option<T> {
    let mut value = T::default();
    if read_into(base, offset, &mut value) {
        Some(value)
    } else {
        None
    }
}

/// The same with a value for where that cannot be done; see [`Typed::get_or`].
#[inline(always)]
pub(super) fn read_or<T: Unsigned>(base: u64, offset: u32, otherwise: T) -> T {
    let mut value = T::default();
    if read_into(base, offset, &mut value) {
        value
    } else {
        otherwise
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
