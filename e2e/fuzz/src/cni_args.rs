//! `CNI_ARGS`, and with it the container's id: text of the environment.

use sockway_cni::pod::Pod;

use crate::plugin::Inputs;

const CONF: &[u8] =
    br#"{"cniVersion":"1.0.0","name":"net","type":"sockway-cni","bpffs":"/nonexistent/bpffs",
    "logFile":"","prevResult":{"ips":[{"address":"10.0.0.7/24"}]}}"#;

/// `data` is `CNI_ARGS`, and again the container's id.
///
/// # Panics
/// Where a name is taken that would not be clean in a log or a table, or a call
/// has no answer.
pub fn check(data: &[u8]) {
    let Pod {
        namespace,
        name,
        uid,
    } = Pod::from_args(&String::from_utf8_lossy(data));
    for text in [namespace, name, uid] {
        assert!(
            text.bytes().all(|b| b.is_ascii_graphic()) && text.len() <= 253,
            "{text:?}"
        );
    }
    let by_args = Inputs {
        verb: "ADD",
        container_id: b"container-1",
        args: data,
        stdin: CONF,
    };
    let reply = by_args.answer().expect("the section is ours");
    assert_eq!(reply.status, 0, "a pod's name never fails a pod");
    for verb in ["ADD", "DEL"] {
        let by_id = Inputs {
            verb,
            container_id: data,
            args: b"",
            stdin: CONF,
        };
        by_id.answer();
    }
}
