//! A kernel's BTF, or what is taken for one.

use sockway_common::offsets::UNKNOWN;
use sockway_datapath::kernel;

/// `data` is a whole BTF, in this machine's byte order.
///
/// # Panics
/// Where an id is found that the types leave no room for, or what is found makes no table.
pub fn check(data: &[u8]) {
    let Ok(found) = kernel::parse(data) else {
        return;
    };
    // A type takes 12 bytes at least.
    let most = data.len() / 12;
    let ids = found.offsets.cast_types.into_iter();
    for id in ids.chain([found.offsets.cast_function]) {
        assert!(id == UNKNOWN || (1..=most).contains(&(id as usize)), "{id}");
    }
    assert_eq!(
        kernel::from_table(&kernel::table(&found.offsets)),
        found.offsets
    );
    let functions = kernel::Functions::from_table(&found.functions.table());
    assert_eq!(functions, found.functions);
}
