//! Listing a hash map in batches: bounded whatever others do with it meanwhile, and some twenty
//! system calls for ten thousand rows.

use std::io;
use std::os::fd::AsFd as _;

use aya::Pod;
use aya::maps::MapData;

use crate::sys;

/// Rows that are asked for at a time; no bucket of the kernel's table holds so many.
const AT_A_TIME: usize = 1024;

/// Calls `see` with every row, each once; of rows that come or go meanwhile with some (kernel 5.6).
///
/// # Errors
///
/// The kernel's.
pub(crate) fn each<K: Pod, V: Pod>(map: &MapData, mut see: impl FnMut(K, V)) -> io::Result<()> {
    let mut at: Option<u32> = None;
    loop {
        let mut keys: Vec<K> = Vec::with_capacity(AT_A_TIME);
        let mut values: Vec<V> = Vec::with_capacity(AT_A_TIME);
        let mut next = 0_u32;
        let (count, more) = sys::lookup_batch(
            map.fd().as_fd(),
            at.as_ref(),
            &mut next,
            keys.spare_capacity_mut(),
            values.spare_capacity_mut(),
        )?;
        // SAFETY: the kernel has filled `count` elements of both, as `Pod` any bytes are valid.
        unsafe { keys.set_len(count) };
        // SAFETY: as above.
        unsafe { values.set_len(count) };
        for (key, value) in keys.into_iter().zip(values) {
            see(key, value);
        }
        if !more || at == Some(next) {
            return Ok(());
        }
        at = Some(next);
    }
}
