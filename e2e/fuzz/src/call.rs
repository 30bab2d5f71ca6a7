//! The network configuration on standard input, under every verb.

use crate::plugin::Inputs;

const VERBS: [&str; 6] = ["ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION"];

/// The first byte chooses the verb (its ASCII digit, or the byte, modulo 6), the
/// rest is standard input.
///
/// # Panics
/// Where the answer is not one of CNI's, or ADD changed prevResult.
pub fn check(data: &[u8]) {
    let Some((&first, stdin)) = data.split_first() else {
        return;
    };
    let inputs = Inputs {
        verb: VERBS[usize::from(first) % VERBS.len()],
        container_id: b"container-1",
        args: b"IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0",
        stdin,
    };
    inputs.answer();
}
