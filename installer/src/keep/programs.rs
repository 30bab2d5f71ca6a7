//! The programs, put in place by a process of its own.
//!
//! Loading them reads the kernel's type information: tens of MiB for a moment, of which a process that
//! runs for months would keep the most. So `sockway run` starts itself once more for that.

use std::process::{self, Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

use crate::exit::{self, Exit};
use crate::node::Wanted;
use crate::node::undo::Undo;
use crate::sys::parent::end_with;
use crate::ui;

/// The option that makes `sockway run` do this for the process with that id and end.
pub const OPTION: &str = "--programs-for";

/// The running program, be its file replaced or removed meanwhile.
pub(super) const SELF: &str = "/proc/self/exe";

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Whether programs of an earlier install were replaced in place.
    pub replaced: bool,
    /// What works with less on this kernel.
    pub limits: Vec<String>,
    /// Why it failed, where it did.
    pub error: Option<String>,
}

/// Starts this program once more, with the same arguments and [`OPTION`], and waits for it.
///
/// # Errors
///
/// What that process says, or that it could not be started.
pub fn put() -> Result<Report> {
    let output = Command::new(SELF)
        .args(std::env::args_os().skip(1))
        .args([OPTION, &process::id().to_string()])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot start {SELF}"))?;
    read(&output.stdout)
        .with_context(|| format!("the process that loads them ended with {}", output.status))
}

fn read(answer: &[u8]) -> Result<Report> {
    let report: Report = serde_json::from_slice(answer).context("it did not say how it went")?;
    match report.error {
        Some(error) => bail!(error),
        None => Ok(report),
    }
}

/// What that process does. It ends with the keeper: whoever comes after a keeper that was killed has the node
/// to itself.
///
/// # Errors
///
/// Where the keeper is gone, the host is not fit, or nothing can be written to standard output.
pub fn put_for(keeper: u32, wanted: &Wanted) -> Result<Exit> {
    end_with(keeper, Signal::SIGKILL)?;
    let host = wanted.check_host()?;
    // Nothing is taken back: the keeper goes on from here.
    let report = match wanted.install_programs(&host, &mut Undo::default()) {
        Ok(done) => Report {
            replaced: done.replaced,
            limits: done.limits.into_iter().map(str::to_owned).collect(),
            error: None,
        },
        Err(e) => Report {
            error: Some(exit::chain(&e)),
            ..Report::default()
        },
    };
    ui::print_json(&report)?;
    Ok(if report.error.is_none() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

#[cfg(test)]
mod tests {
    use super::{Report, read};

    #[test]
    fn answers() {
        let done = Report {
            replaced: true,
            limits: vec!["no BTF".to_owned()],
            error: None,
        };
        let text = serde_json::to_vec(&done).unwrap();
        assert_eq!(read(&text).unwrap(), done);
        let failed = r#"{"replaced":false,"limits":[],"error":"the kernel refused it"}"#;
        let error = read(failed.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "the kernel refused it");
        assert!(read(b"").is_err());
    }
}
