//! The parameters that come by environment variables.

use std::env::VarError;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use sockway_common::pod::OwnerKey;

use crate::constants::{CNI_ARGS, CNI_COMMAND, CNI_CONTAINERID, CNI_IFNAME, CNI_NETNS};
use crate::edge::Verb;
use crate::error::Error;

/// `IFNAMSIZ` less the terminating NUL, bytes.
const MAX_IFNAME: usize = 15;
/// `PATH_MAX` less the terminating NUL, bytes.
const MAX_PATH: usize = 4095;

/// Where variables are looked up: the process's environment, or a test's.
pub struct Env<'a>(pub &'a dyn Fn(&str) -> Option<OsString>);

/// One interface of one container: what is added and deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The container, as the runtime names it.
    pub container_id: String,
    /// The interface in the container.
    pub ifname: String,
}

impl Attachment {
    /// The key of the attachment's rows.
    #[must_use]
    pub fn owner(&self) -> OwnerKey {
        OwnerKey::new(&self.container_id, &self.ifname)
    }
}

impl Env<'_> {
    /// What the runtime wants.
    ///
    /// # Errors
    /// [`Error::Env`].
    pub fn verb(&self) -> Result<Verb, Error> {
        Verb::read((self.0)(CNI_COMMAND).as_deref())
    }

    /// The attachment that ADD, DEL and CHECK are about.
    ///
    /// # Errors
    /// [`Error::Env`].
    pub fn attachment(&self) -> Result<Attachment, Error> {
        let container_id = self.required(CNI_CONTAINERID)?;
        if !identifier(&container_id) {
            return Err(Error::Env {
                name: CNI_CONTAINERID,
                why: "must start with a letter or digit and go on with letters, digits, _, . and -"
                    .to_owned(),
            });
        }
        let ifname = self.required(CNI_IFNAME)?;
        if !interface(&ifname) {
            let why = format!(
                "is no interface name: at most {MAX_IFNAME} bytes, not . or .., no /, : or space"
            );
            return Err(Error::Env {
                name: CNI_IFNAME,
                why,
            });
        }
        Ok(Attachment {
            container_id,
            ifname,
        })
    }

    /// The path of the pod's network namespace, `None` where the runtime gives none.
    ///
    /// # Errors
    /// [`Error::Env`] where it cannot be a path.
    pub fn netns(&self) -> Result<Option<PathBuf>, Error> {
        let Some(path) = (self.0)(CNI_NETNS).filter(|path| !path.is_empty()) else {
            return Ok(None);
        };
        if path.len() > MAX_PATH || path.as_bytes().contains(&0) {
            let why = format!("is no path: {} bytes, at most {MAX_PATH}", path.len());
            return Err(Error::Env {
                name: CNI_NETNS,
                why,
            });
        }
        Ok(Some(path.into()))
    }

    /// As [`Env::netns`], for verbs that cannot do without.
    ///
    /// # Errors
    /// [`Error::Env`].
    pub fn required_netns(&self) -> Result<PathBuf, Error> {
        self.netns()?.ok_or_else(|| Error::Env {
            name: CNI_NETNS,
            why: "is not set".to_owned(),
        })
    }

    /// What the runtime says beside; empty where it says nothing that can be read.
    #[must_use]
    pub fn args(&self) -> String {
        self.text(CNI_ARGS).unwrap_or_default()
    }

    fn required(&self, name: &'static str) -> Result<String, Error> {
        match self.text(name) {
            Ok(value) if value.is_empty() => Err(Error::Env {
                name,
                why: "is empty".to_owned(),
            }),
            Ok(value) => Ok(value),
            Err(VarError::NotPresent) => Err(Error::Env {
                name,
                why: "is not set".to_owned(),
            }),
            Err(VarError::NotUnicode(_)) => Err(Error::Env {
                name,
                why: "is not UTF-8".to_owned(),
            }),
        }
    }

    fn text(&self, name: &str) -> Result<String, VarError> {
        let value = (self.0)(name).ok_or(VarError::NotPresent)?;
        value.into_string().map_err(VarError::NotUnicode)
    }
}

/// What the specification demands of container ids and network names.
#[must_use]
pub fn identifier(text: &str) -> bool {
    text.bytes()
        .next()
        .is_some_and(|b| b.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

fn interface(name: &str) -> bool {
    (1..=MAX_IFNAME).contains(&name.len())
        && !matches!(name, "." | "..")
        && !name
            .chars()
            .any(|c| matches!(c, '/' | ':') || c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use super::Env;

    fn attachment(id: Option<&str>, ifname: Option<&str>) -> Result<(), String> {
        let lookup = |name: &str| match name {
            "CNI_CONTAINERID" => id.map(OsString::from),
            "CNI_IFNAME" => ifname.map(OsString::from),
            _ => None,
        };
        Env(&lookup)
            .attachment()
            .map(|_| ())
            .map_err(|e| format!("{} {e}", e.code()))
    }

    #[test]
    fn ids_and_names_of_the_specification() {
        let long = "A".repeat(300);
        for id in ["a", "0", "ABCdef-1_2.3", &long] {
            assert_eq!(attachment(Some(id), Some("eth0")), Ok(()), "{id}");
        }
        for id in ["", "-a", ".a", "_a", "a/b", "a b", "é", "a\n"] {
            let error = attachment(Some(id), Some("eth0")).unwrap_err();
            assert!(
                error.starts_with("4 environment variable CNI_CONTAINERID"),
                "{id}: {error}"
            );
        }
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "a:b",
            "a b",
            "a\tb",
            "a\u{1}",
            "sixteen-letters-",
        ] {
            let error = attachment(Some("a"), Some(name)).unwrap_err();
            assert!(
                error.starts_with("4 environment variable CNI_IFNAME"),
                "{name}: {error}"
            );
        }
        assert!(
            attachment(None, Some("eth0"))
                .unwrap_err()
                .contains("CNI_CONTAINERID is not set")
        );
        assert!(
            attachment(Some("a"), None)
                .unwrap_err()
                .contains("CNI_IFNAME is not set")
        );
        assert_eq!(attachment(Some("a"), Some("fifteen-letters")), Ok(()));
    }

    #[test]
    fn an_empty_netns_is_none() {
        for (value, given) in [
            (None, false),
            (Some(""), false),
            (Some("/run/netns/a"), true),
        ] {
            let lookup = |_: &str| value.map(OsString::from);
            assert_eq!(Env(&lookup).netns().unwrap().is_some(), given);
            assert_eq!(Env(&lookup).required_netns().is_ok(), given);
        }
        let lookup = |_: &str| Some(OsString::from("x".repeat(5000)));
        assert_eq!(Env(&lookup).netns().unwrap_err().code(), 4);
    }

    #[test]
    fn bytes_that_are_no_text() {
        let lookup = |_: &str| Some(OsString::from_vec(vec![0xff, 0xfe]));
        let env = Env(&lookup);
        assert_eq!(env.verb().unwrap_err().code(), 4);
        assert_eq!(env.attachment().unwrap_err().code(), 4);
        assert_eq!(env.args(), "");
        // A path may be any bytes.
        assert!(env.netns().unwrap().is_some());
    }
}
