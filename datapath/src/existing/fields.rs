//! What the iterators need of this kernel.

use std::path::Path;

use sockway_common::existing::{FIELDS, Fields};
use sockway_common::offsets::UNKNOWN;

use crate::Error;
use crate::kernel::{self, Field, fields};

/// A kernel function that came with the socket lock around iterator programs
/// (6.5, the same series). Before, the lock was taken in a way in which putting
/// a socket into a sockhash stops the machine.
const LOCKS: &str = "bpf_sock_destroy";

const TABLE: [Field<Fields>; FIELDS] = fields![
    "sock_common" "skc_family" => family,
    "sock_common" "skc_state" => state,
    "sock_common" "skc_rcv_saddr" => local4,
    "sock_common" "skc_daddr" => remote4,
    "sock_common" "skc_v6_rcv_saddr" => local6,
    "sock_common" "skc_v6_daddr" => remote6,
    "sock_common" "skc_num" => local_port,
    "sock_common" "skc_dport" => remote_port,
    "tcp_sock" "snd_nxt" => snd_nxt,
    "file" "f_inode" => file_inode,
    "inode" "i_ino" => inode_number,
];

/// The fields of this kernel.
///
/// # Errors
///
/// [`Error::Existing`] where it lacks one, or does not lock sockets for iterators.
pub(super) fn find(btf: Option<&Path>) -> Result<Fields, Error> {
    let Some(types) = kernel::types(btf)? else {
        return Err(Error::existing("this kernel has no BTF"));
    };
    if types.id_of(LOCKS).is_none() {
        return Err(Error::existing(
            "this kernel does not lock sockets for iterators (6.5 and later do)",
        ));
    }
    let mut fields = Fields::NONE;
    kernel::find(&types, &TABLE, &mut fields);
    match TABLE.iter().find(|f| *(f.slot)(&mut fields) == UNKNOWN) {
        None => Ok(fields),
        Some(Field { of, path, .. }) => {
            Err(Error::existing(&format!("this kernel has no {of}.{path}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::find;
    use std::path::Path;

    #[test]
    fn a_kernel_without_btf_is_refused() {
        let text = find(Some(Path::new("/proc/none"))).unwrap_err().to_string();
        assert!(text.contains("no BTF"), "{text}");
    }
}
