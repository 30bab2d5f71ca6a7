//! The result of the plugin before ours.

use serde_json::value::RawValue;
use sockway_cni::addresses::of_result;

use crate::plugin::Inputs;

/// `data` is prevResult.
///
/// # Panics
/// Where ADD does not pass it on, or takes an address that no pod has alone.
pub fn check(data: &[u8]) {
    let Ok(result) = serde_json::from_slice::<&RawValue>(data) else {
        return;
    };
    if let Ok(addresses) = of_result(result) {
        assert!(addresses.len() <= sockway_common::pod::MAX_IPS);
        for ip in &addresses {
            assert!(
                !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast(),
                "{ip}"
            );
            let same = addresses.iter().filter(|other| *other == ip);
            assert_eq!(same.count(), 1, "{ip} twice");
        }
    }
    let stdin = [
        br#"{"cniVersion":"1.0.0","name":"net","type":"sockway-cni","bpffs":"/nonexistent/bpffs","logFile":"","prevResult":"#,
        data,
        b"}",
    ]
    .concat();
    for verb in ["ADD", "CHECK", "DEL"] {
        let inputs = Inputs {
            verb,
            container_id: b"container-1",
            args: b"",
            stdin: &stdin,
        };
        let reply = inputs.answer().expect("the section is ours");
        let is_object = result.get().starts_with('{');
        // Nothing is installed there: no pod is held up, whatever the result says.
        if verb == "DEL" || is_object {
            assert_eq!(reply.status, 0, "{verb}");
        }
        if verb == "ADD" && is_object {
            assert_eq!(reply.stdout, result.get().as_bytes());
        }
    }
}
