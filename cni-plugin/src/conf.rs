//! The network configuration on standard input.
//!
//! Values stay raw until somebody asks: prevResult is handed on byte for byte,
//! and nothing is parsed that the verb does not need. Of a key that is there
//! twice the last one counts, as in libcni.

use std::collections::BTreeMap;
use std::io::Read;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sockway_datapath::section::{Problem, Section};

use crate::constants::{MAX_STDIN, SUPPORTED_VERSIONS};
use crate::env::identifier;
use crate::error::Error;

/// The version of a configuration that names none.
const UNVERSIONED: &str = "0.1.0";

/// Reads standard input, up to the bound.
///
/// # Errors
/// [`Error::Stdin`], [`Error::TooLarge`].
pub fn read(stdin: impl Read) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    stdin
        .take(MAX_STDIN + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::Stdin)?;
    if bytes.len() as u64 > MAX_STDIN {
        return Err(Error::TooLarge);
    }
    Ok(bytes)
}

/// The keys of a configuration, their values still raw.
#[derive(Debug)]
pub struct Keys<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Keys<'a> {
    /// Splits a configuration into keys and values.
    ///
    /// # Errors
    /// [`Error::Decode`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes)
            .map(Self)
            .map_err(|source| Error::Decode {
                what: "the network configuration",
                source,
            })
    }

    /// `cniVersion`, as far as it can be repeated in a reply.
    ///
    /// # Errors
    /// [`Error::Decode`].
    pub fn version(&self) -> Result<String, Error> {
        Ok(self
            .get("cniVersion")?
            .unwrap_or_else(|| UNVERSIONED.to_owned()))
    }

    /// Our own section, with defaults where it is not right, and what is not.
    pub fn section(&self) -> (Section, Vec<Problem>) {
        let mut own = serde_json::Map::new();
        let mut unread = Vec::new();
        for (key, raw) in self.0.iter().filter(|(key, _)| !Section::is_cni_key(key)) {
            match serde_json::from_str(raw.get()) {
                Ok(value) => drop(own.insert(key.clone(), value)),
                // Nested too deep, or half a surrogate: JSON to whoever passes it on only.
                Err(error) => unread.push(Problem {
                    key: key.clone(),
                    value: format!("what cannot be read ({error})"),
                    allowed: "plain JSON".to_owned(),
                    unknown: false,
                }),
            }
        }
        let (section, mut problems) = Section::parse_lenient(&Value::Object(own));
        problems.append(&mut unread);
        (section, problems)
    }

    /// The result of the plugin before us.
    ///
    /// # Errors
    /// [`Error::NoPrevResult`], [`Error::Config`] where it is no object.
    pub fn prev_result(&self) -> Result<&'a RawValue, Error> {
        let raw = self.raw("prevResult").ok_or(Error::NoPrevResult)?;
        if raw.get().starts_with('{') {
            return Ok(raw);
        }
        Err(Error::Config("prevResult is not an object".to_owned()))
    }

    /// The value of a key; `None` where it is absent or null.
    fn raw(&self, key: &str) -> Option<&'a RawValue> {
        self.0.get(key).copied().filter(|raw| raw.get() != "null")
    }

    fn get<T: Deserialize<'a>>(&self, key: &'static str) -> Result<Option<T>, Error> {
        let Some(raw) = self.raw(key) else {
            return Ok(None);
        };
        serde_json::from_str(raw.get())
            .map(Some)
            .map_err(|source| Error::Decode { what: key, source })
    }
}

/// An attachment that GC is told to keep.
#[derive(Debug, Deserialize)]
pub struct ValidAttachment {
    /// The container.
    #[serde(rename = "containerID", alias = "containerId")]
    pub container_id: String,
    /// The interface.
    #[serde(alias = "ifName")]
    pub ifname: String,
}

/// A configuration whose version the plugin speaks.
#[derive(Debug)]
pub struct NetConf<'a> {
    keys: Keys<'a>,
    /// `cniVersion`.
    pub version: String,
    /// The network's name.
    pub name: String,
    /// Our own section, with defaults where it is not right.
    pub section: Section,
    /// What is not right in it.
    pub problems: Vec<Problem>,
}

impl<'a> NetConf<'a> {
    /// Checks what CNI demands, and reads our own section.
    ///
    /// # Errors
    /// [`Error::Version`], [`Error::Decode`], [`Error::Config`].
    pub fn new(keys: Keys<'a>, version: String) -> Result<Self, Error> {
        if !SUPPORTED_VERSIONS.contains(&version.as_str()) {
            return Err(Error::Version { version });
        }
        let name: String = keys.get("name")?.unwrap_or_default();
        if !identifier(&name) {
            let why = if name.is_empty() {
                "name is missing".to_owned()
            } else {
                format!(
                    "name {name:?} must start with a letter or digit and go on with letters, digits, _, . and -"
                )
            };
            return Err(Error::Config(why));
        }
        let (section, problems) = keys.section();
        Ok(Self {
            keys,
            version,
            name,
            section,
            problems,
        })
    }

    /// Fails where the configuration is older than a verb.
    ///
    /// # Errors
    /// [`Error::VerbVersion`].
    pub fn needs(&self, since: &'static str, verb: &'static str) -> Result<(), Error> {
        // Both are in the list, which ascends.
        let place = |version: &str| SUPPORTED_VERSIONS.iter().position(|v| *v == version);
        if place(&self.version) < place(since) {
            return Err(Error::VerbVersion {
                verb,
                since,
                version: self.version.clone(),
            });
        }
        Ok(())
    }

    /// Our own section, if it is all right.
    ///
    /// # Errors
    /// [`Error::Section`].
    pub fn sound_section(&self) -> Result<&Section, Error> {
        if self.problems.is_empty() {
            return Ok(&self.section);
        }
        Err(Error::Section(self.problems.clone()))
    }

    /// See [`Keys::prev_result`].
    ///
    /// # Errors
    /// As there.
    pub fn prev_result(&self) -> Result<&'a RawValue, Error> {
        self.keys.prev_result()
    }

    /// What the runtime hands over for declared capabilities.
    #[must_use]
    pub fn runtime_config(&self) -> Option<&'a RawValue> {
        self.keys.raw("runtimeConfig")
    }

    /// The attachments that GC is told to keep; `None` where no list is given.
    /// libcni writes null for an empty one.
    ///
    /// The specification had the key under two names, and libcni gives both: what either lists stays.
    ///
    /// # Errors
    /// [`Error::Decode`].
    pub fn valid_attachments(&self) -> Result<Option<Vec<ValidAttachment>>, Error> {
        const KEYS: [&str; 2] = ["cni.dev/valid-attachments", "cni.dev/attachments"];
        let mut found = None;
        for key in KEYS {
            if self.keys.0.contains_key(key) {
                let all: Vec<ValidAttachment> = self.keys.get(key)?.unwrap_or_default();
                found.get_or_insert_with(Vec::new).extend(all);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
