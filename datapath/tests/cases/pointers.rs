//! How kernel fields are read on this kernel.

use sockway_common::config::typed;
use sockway_datapath::{cast, host, kernel};
use sockway_testkit::needs;
use sockway_testkit::ring::privileged;

#[test]
fn fields_are_read_by_plain_loads_where_the_kernel_can() {
    needs!(privileged("fields_are_read_by_plain_loads"));
    let release = host::kernel_release();
    let mut numbers = release.split(['.', '-']).map(str::parse::<u32>);
    let mut number = || numbers.next().expect("two numbers").expect("a number");
    let wanted = match (number(), number()) {
        version if version >= (6, 2) => typed::ANY,
        version if version >= (5, 11) => typed::OWN,
        _ => typed::NONE,
    };
    let offsets = kernel::read(None).expect("read the BTF").offsets;
    assert_eq!(cast::level(&offsets), wanted, "on {release}");
}
