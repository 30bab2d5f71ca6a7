//! Other programs that this one is, by the name under which it is started:
//! plugins that stand around ours in chains, and what runs in containers.

mod cilium;
mod pause;
mod terway;

use std::env;
use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Names of the plugins that this program can be.
pub(crate) const PLUGINS: [&str; 2] = ["terway", "cilium-cni"];

/// What this program is to be, where its name is not its own.
pub(crate) fn of_name() -> Option<fn() -> ExitCode> {
    let name = env::args_os().next()?;
    match Path::new(&name).file_name().and_then(OsStr::to_str)? {
        "terway" => Some(|| plugin(terway::answer)),
        "pause" => Some(pause::run),
        "cilium-cni" => Some(|| plugin(cilium::answer)),
        _ => None,
    }
}

/// A call of a plugin as the specification has it.
struct Call {
    verb: String,
    container: String,
    netns: String,
    ifname: String,
    conf: Value,
}

impl Call {
    fn read() -> Result<Self> {
        let var = |name| env::var(name).unwrap_or_default();
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .context("read standard input")?;
        let verb = var("CNI_COMMAND");
        let conf = if verb == "VERSION" {
            Value::Null
        } else {
            serde_json::from_str(&text)?
        };
        Ok(Self {
            verb,
            container: var("CNI_CONTAINERID"),
            netns: var("CNI_NETNS"),
            ifname: var("CNI_IFNAME"),
            conf,
        })
    }

    fn version(&self) -> &str {
        self.conf["cniVersion"].as_str().unwrap_or("0.1.0")
    }
}

/// Runs a plugin: one document on standard output, or nothing.
fn plugin(answer: fn(&Call) -> Result<Option<Value>>) -> ExitCode {
    let reply = Call::read().and_then(|call| match call.verb.as_str() {
        "VERSION" => Ok(Some(json!({
            "cniVersion": "1.1.0",
            "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
        }))),
        _ => answer(&call),
    });
    let (document, code) = match reply {
        Ok(document) => (document, ExitCode::SUCCESS),
        Err(error) => {
            let error = json!({ "cniVersion": "1.0.0", "code": 999, "msg": format!("{error:#}") });
            (Some(error), ExitCode::FAILURE)
        }
    };
    let Some(document) = document else {
        return code;
    };
    match std::io::stdout().write_all(document.to_string().as_bytes()) {
        Ok(()) => code,
        Err(_) => ExitCode::FAILURE,
    }
}
