//! Calls the plugin in this process, where it can reach nothing of the machine.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::sync::Once;

use serde_json::Value;
use sockway_cni::conf::{Keys, NetConf};
use sockway_cni::edge::Reply;
use sockway_cni::env::Env;
use sockway_cni::run;

/// Where nothing is: an input may name any directory and any log file, and only
/// those under this one are followed.
const NOWHERE: &str = "/nonexistent/";

/// The inputs of a call.
pub(crate) struct Inputs<'a> {
    /// `CNI_COMMAND`.
    pub(crate) verb: &'a str,
    /// `CNI_CONTAINERID`.
    pub(crate) container_id: &'a [u8],
    /// `CNI_ARGS`.
    pub(crate) args: &'a [u8],
    /// The network configuration.
    pub(crate) stdin: &'a [u8],
}

impl Inputs<'_> {
    /// Runs the call and checks the answer's form; `None` for a configuration
    /// that would lead out of [`NOWHERE`].
    pub(crate) fn answer(&self) -> Option<Reply> {
        if self.leads_elsewhere() {
            return None;
        }
        quiet();
        let lookup = |name: &str| match name {
            "CNI_COMMAND" => Some(self.verb.into()),
            "CNI_CONTAINERID" => Some(OsString::from_vec(self.container_id.to_vec())),
            "CNI_IFNAME" => Some("eth0".into()),
            "CNI_NETNS" => Some("/nonexistent/netns".into()),
            "CNI_ARGS" => Some(OsString::from_vec(self.args.to_vec())),
            _ => None,
        };
        let reply = run(Env(&lookup), self.stdin);
        self.judge(&reply);
        Some(reply)
    }

    fn leads_elsewhere(&self) -> bool {
        // A broken section falls back to the defaults, which are real paths.
        let section = Keys::parse(self.stdin)
            .and_then(|keys| {
                let version = keys.version()?;
                NetConf::new(keys, version)
            })
            .map(|conf| conf.section);
        section.is_ok_and(|section| {
            !section.bpffs.starts_with(NOWHERE) || !section.log_file.is_empty()
        })
    }

    fn judge(&self, reply: &Reply) {
        let Self { verb, stdin, .. } = self;
        if reply.status != 0 {
            let error: Value = serde_json::from_slice(&reply.stdout).expect("an error is JSON");
            assert_eq!(error["code"], reply.status, "{error}");
            assert!(error["cniVersion"].is_string() && error["msg"].is_string());
        } else if *verb == "ADD" {
            // Not decoded: what is passed on is not ours to judge.
            let mut places = stdin.windows(reply.stdout.len().max(1));
            assert!(
                reply.stdout.starts_with(b"{") && places.any(|part| part == reply.stdout),
                "prevResult is passed on byte for byte"
            );
        } else if *verb == "VERSION" {
            let versions: Value = serde_json::from_slice(&reply.stdout).expect("JSON");
            assert!(versions["supportedVersions"].is_array());
        } else {
            assert!(reply.stdout.is_empty(), "{verb} prints nothing");
        }
    }
}

/// Formats every line and drops it; else each call would write to standard error.
struct Quiet;

impl log::Log for Quiet {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = record.args().to_string();
        assert!(!line.contains('\n'), "one line: {line}");
    }

    fn flush(&self) {}
}

fn quiet() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Quiet).expect("no other logger");
        log::set_max_level(log::LevelFilter::Trace);
    });
}
