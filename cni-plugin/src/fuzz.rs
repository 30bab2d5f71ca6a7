//! Mutated input: whatever comes, there is an answer and no panic.
//!
//! The mutations are pseudo-random with a fixed seed, so a failure repeats.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use serde_json::Value;

use crate::env::Env;
use crate::pod::Pod;
use crate::run;

const ROUNDS: u32 = 20_000;
/// What inputs are cut up at and filled with.
const PIECES: [&str; 16] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "null",
    "1e999",
    "-0",
    "\\u0000",
    "\\ud800",
    "10.0.0.1/24",
    "prevResult",
    "\u{0}",
    "é",
];

/// Formats every line and drops it.
struct Quiet;

impl log::Log for Quiet {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        assert!(
            !record.args().to_string().contains('\n'),
            "one line: {}",
            record.args()
        );
    }

    fn flush(&self) {}
}

/// `XorShift64`: enough to vary inputs.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap()
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(5) {
                0 => bytes.truncate(at),
                1 if at < bytes.len() => bytes[at] = u8::try_from(self.below(256)).unwrap(),
                2 => {
                    let piece = PIECES[self.below(PIECES.len())];
                    bytes.splice(at..at, piece.bytes());
                }
                3 => {
                    let end = at + self.below(bytes.len() - at + 1);
                    let part = bytes[at..end].to_vec();
                    bytes.extend_from_slice(&part);
                }
                _ => {
                    let end = at + self.below((bytes.len() - at + 1).min(8));
                    bytes.drain(at..end);
                }
            }
        }
    }
}

const CONF: &str = r#"{"cniVersion":"1.1.0","name":"net","type":"sockway-cni","scope":"auto",
    "envoyPorts":{"outbound":15001,"inbound":15006},"excludeNamespaces":["kube-system"],
    "logLevel":"off","logFile":"","bpffs":"/nonexistent/bpffs","strict":false,
    "runtimeConfig":{"io.kubernetes.cri.pod-annotations":{"sockway.io/scope":"all"}},
    "cni.dev/valid-attachments":[{"containerID":"a","ifname":"eth0"}],
    "prevResult":{"cniVersion":"1.1.0","interfaces":[{"name":"eth0","sandbox":"/x"}],
    "ips":[{"address":"10.0.0.7/24","interface":0},{"address":"fd00::7/64"}],"dns":{}}}"#;

fn env_of<'a>(verb: &'a str, id: &'a [u8], args: &'a [u8]) -> impl Fn(&str) -> Option<OsString> {
    move |name: &str| match name {
        "CNI_COMMAND" => Some(verb.into()),
        "CNI_CONTAINERID" => Some(OsString::from_vec(id.to_vec())),
        "CNI_IFNAME" => Some("eth0".into()),
        "CNI_NETNS" => Some("/nonexistent/netns".into()),
        "CNI_ARGS" => Some(OsString::from_vec(args.to_vec())),
        _ => None,
    }
}

#[test]
fn every_input_has_an_answer() {
    // Else every round would write a line to standard error.
    log::set_boxed_logger(Box::new(Quiet)).unwrap();
    let mut random = Random(0x5eed_0001);
    let mut answered = [0_u32; 2];
    for round in 0..ROUNDS {
        let verb = ["ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION"][random.below(6)];
        let mut stdin = CONF.as_bytes().to_vec();
        let mut id = b"container-1".to_vec();
        let mut args = b"IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0".to_vec();
        random.mutate(&mut stdin);
        match random.below(8) {
            0 => random.mutate(&mut id),
            1 => random.mutate(&mut args),
            _ => {}
        }
        let lookup = env_of(verb, &id, &args);
        let reply = run(Env(&lookup), stdin.as_slice());
        let shown = String::from_utf8_lossy(&stdin);
        answered[usize::from(reply.status != 0)] += 1;
        if reply.status == 0 && reply.stdout.is_empty() {
            assert!(!matches!(verb, "ADD" | "VERSION"), "{round} {verb} {shown}");
            continue;
        }
        if reply.status == 0 && verb == "ADD" {
            // Not decoded: what is passed on is not ours to judge.
            let whole = stdin
                .windows(reply.stdout.len())
                .any(|part| part == reply.stdout);
            assert!(whole && reply.stdout[0] == b'{', "{round} {shown}");
            continue;
        }
        let value: Value = serde_json::from_slice(&reply.stdout)
            .unwrap_or_else(|e| panic!("{round} {verb} {shown}: {e}"));
        if reply.status != 0 {
            assert_eq!(value["code"], reply.status, "{round} {verb} {shown}");
            assert!(value["cniVersion"].is_string() && value["msg"].is_string());
        }
    }
    // Else the mutations would test one side only.
    assert!(
        answered[0] > ROUNDS / 20 && answered[1] > ROUNDS / 20,
        "{answered:?}"
    );
}

#[test]
fn pod_names_are_clean_whatever_args_hold() {
    let mut random = Random(0x5eed_0002);
    for _ in 0..ROUNDS {
        let mut args = b"K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0;K8S_POD_UID=1".to_vec();
        random.mutate(&mut args);
        let Pod { namespace, name } = Pod::from_args(&String::from_utf8_lossy(&args));
        for text in [namespace, name] {
            assert!(
                text.bytes().all(|b| b.is_ascii_graphic()) && text.len() <= 253,
                "{text:?}"
            );
        }
    }
}
