//! The edge to the runtime: verbs in, replies out. The only file that uses the
//! `cni-plugin` crate.
//!
//! Its command words and its reply trait (a JSON document and the exit status
//! that goes with it) are used. The rest is not, for reasons: its loader does
//! not know STATUS and GC, refuses 0.3.x and upper-case container ids, wants
//! standard input for VERSION and reads it without a bound; its typed replies
//! cannot read common results and drop fields they do not know; its own
//! `reply` panics where standard output is closed.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::process::ExitCode;

use cni_plugin::Command;
use cni_plugin::reply::ReplyPayload;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::constants::{CNI_COMMAND, LATEST_VERSION, MAX_DETAILS, SUPPORTED_VERSIONS};
use crate::error::Error;

/// What the runtime wants.
#[derive(Clone, Copy, Debug)]
pub enum Verb {
    /// An interface was made.
    Add,
    /// An interface goes.
    Del,
    /// Whether an interface is as ADD left it (CNI 0.4).
    Check,
    /// Which versions are spoken.
    Version,
    /// Whether ADD would do (CNI 1.1).
    Status,
    /// Remove what belongs to no interface any more (CNI 1.1).
    Gc,
}

impl Verb {
    /// Reads `CNI_COMMAND`, before anything else is looked at.
    ///
    /// # Errors
    /// [`Error::Env`].
    pub fn read(value: Option<&OsStr>) -> Result<Self, Error> {
        let why = match value.map(OsStr::to_str) {
            Some(Some("STATUS")) => return Ok(Self::Status),
            Some(Some("GC")) => return Ok(Self::Gc),
            // What CHECK was called in the drafts of 0.4.0, and by libcni until 0.7.0.
            Some(Some("GET")) => return Ok(Self::Check),
            Some(Some(word)) => match word.parse::<Command>() {
                Ok(command) => return Ok(command.into()),
                Err(_) => format!("is {word:?}, none of ADD, DEL, CHECK, STATUS, GC, VERSION"),
            },
            Some(None) => "is not UTF-8".to_owned(),
            None => "is not set: this program is run by a container runtime".to_owned(),
        };
        Err(Error::Env {
            name: CNI_COMMAND,
            why,
        })
    }

    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::Check => "CHECK",
            Self::Version => "VERSION",
            Self::Status => "STATUS",
            Self::Gc => "GC",
        }
    }
}

impl From<Command> for Verb {
    fn from(command: Command) -> Self {
        match command {
            Command::Add => Self::Add,
            Command::Del => Self::Del,
            Command::Check => Self::Check,
            Command::Version => Self::Version,
        }
    }
}

/// What goes back to the runtime: one JSON document, or nothing, and a status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// For standard output.
    pub stdout: Vec<u8>,
    /// Exit status: 0, or the CNI error code.
    pub status: u8,
}

/// A result that is passed on, byte for byte.
#[derive(Debug, Deserialize, Serialize)]
#[serde(transparent)]
struct PassedOn(Box<RawValue>);

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionReply {
    cni_version: String,
    supported_versions: Vec<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorReply {
    cni_version: String,
    code: u8,
    msg: String,
    details: String,
}

impl ReplyPayload<'_> for PassedOn {}
impl ReplyPayload<'_> for VersionReply {}
impl ReplyPayload<'_> for ErrorReply {
    fn code(&self) -> i32 {
        self.code.into()
    }
}

impl Reply {
    /// Success without output.
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            stdout: Vec::new(),
            status: 0,
        }
    }

    /// Success with the result of the plugin before us, untouched.
    #[must_use]
    pub fn passed_on(result: &RawValue) -> Self {
        Self::from_payload(&PassedOn(result.to_owned()))
    }

    /// The answer to VERSION.
    #[must_use]
    pub fn versions(version: Option<&str>) -> Self {
        Self::from_payload(&VersionReply {
            cni_version: version.unwrap_or(LATEST_VERSION).to_owned(),
            supported_versions: SUPPORTED_VERSIONS.map(str::to_owned).to_vec(),
        })
    }

    /// An error, in the caller's version where it is known.
    #[must_use]
    pub fn error(error: &Error, version: Option<&str>) -> Self {
        let mut details = error.details();
        if details.len() > MAX_DETAILS {
            details.truncate(details.floor_char_boundary(MAX_DETAILS));
            details.push_str("...");
        }
        Self::from_payload(&ErrorReply {
            cni_version: version.unwrap_or(LATEST_VERSION).to_owned(),
            code: error.code(),
            msg: error.msg().to_owned(),
            details,
        })
    }

    fn from_payload<'de>(payload: &impl ReplyPayload<'de>) -> Self {
        // Strings, numbers and JSON that was parsed before: this cannot fail,
        // and a runtime takes empty output with status 5 for what it is.
        match serde_json::to_vec(payload) {
            Ok(stdout) => Self {
                stdout,
                status: u8::try_from(payload.code()).unwrap_or(u8::MAX),
            },
            Err(_) => Self {
                stdout: Vec::new(),
                status: 5,
            },
        }
    }

    /// Writes the document to standard output.
    #[must_use]
    pub fn send(self) -> ExitCode {
        let mut out = io::stdout().lock();
        match out.write_all(&self.stdout).and_then(|()| out.flush()) {
            Ok(()) => ExitCode::from(self.status),
            Err(error) => {
                log::error!("cannot write the reply to standard output: {error}");
                ExitCode::from(if self.status == 0 { 5 } else { self.status })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::{Reply, Verb};
    use crate::constants::MAX_DETAILS;
    use crate::error::Error;

    #[test]
    fn verbs_are_read_as_they_are_named() {
        for word in ["ADD", "DEL", "CHECK", "VERSION", "STATUS", "GC"] {
            assert_eq!(Verb::read(Some(word.as_ref())).unwrap().name(), word);
        }
        assert_eq!(Verb::read(Some("GET".as_ref())).unwrap().name(), "CHECK");
        for value in [Some("add"), Some(""), None] {
            let error = Verb::read(value.map(AsRef::as_ref)).unwrap_err();
            assert_eq!(error.code(), 4);
            assert!(
                error.details().contains("CNI_COMMAND"),
                "{}",
                error.details()
            );
        }
    }

    #[test]
    fn a_result_keeps_every_byte() {
        let text = "{ \"b\":1.50 ,\n\t\"a\": \"\\u00e9\", \"b\": 2}";
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        assert_eq!(Reply::passed_on(raw).stdout, text.as_bytes());
    }

    #[test]
    fn errors_are_bounded_and_carry_the_version() {
        let error = Error::Config("é".repeat(MAX_DETAILS));
        let reply = Reply::error(&error, Some("0.4.0"));
        assert_eq!(reply.status, 7);
        let json: serde_json::Value = serde_json::from_slice(&reply.stdout).unwrap();
        assert_eq!(json["cniVersion"], "0.4.0");
        assert_eq!(json["code"], 7);
        assert!(json["details"].as_str().unwrap().len() <= MAX_DETAILS + 3);
    }
}
