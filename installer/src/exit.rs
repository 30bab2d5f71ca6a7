//! What the process says when it ends.

/// Exit codes of every subcommand; printed by `sockway --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or all is well.
    Done = 0,
    /// Failed; standard error says why.
    Failed = 1,
    /// Wrong usage (clap's code).
    Usage = 2,
    /// Not installed on this node.
    NotInstalled = 3,
    /// Installed, but something is not as it should be.
    Degraded = 4,
    /// Switched off or uninstalled as far as programs that do not read allow.
    Draining = 5,
    /// Sockway cannot run on this node.
    Unfit = 6,
}

/// The text of the codes for help output.
pub const HELP: &str = "\
Exit codes:
  0  done, or all is well
  1  failed; standard error says why
  2  wrong usage, or a value that is refused
  3  sockway is not installed on this node
  4  installed, but something is not as it should be (status)
  5  sockets are left whose programs do not read; run it again later (uninstall, off)
  6  sockway cannot run on this node (doctor, and install or run that refuse it)";

/// An error and its causes in one line. Some libraries' messages already hold
/// that of their cause, which is then not said twice.
pub fn chain(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |mut text, cause| {
        let cause = cause.to_string();
        if !text.ends_with(&cause) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&cause);
        }
        text
    })
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::{Exit, HELP, chain};

    #[test]
    fn a_cause_is_said_once() {
        let inner = anyhow::anyhow!("no such file");
        let error = inner
            .context("cannot read x: no such file")
            .context("nothing was changed");
        assert_eq!(
            chain(&error),
            "nothing was changed: cannot read x: no such file"
        );
    }

    #[test]
    fn help_lists_every_code() {
        use Exit::{Degraded, Done, Draining, Failed, NotInstalled, Unfit, Usage};
        for exit in [Done, Failed, Usage, NotInstalled, Degraded, Draining, Unfit] {
            assert!(HELP.contains(&format!("\n  {}  ", exit as u8)), "{exit:?}");
        }
    }
}
