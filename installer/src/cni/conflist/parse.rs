//! Reading a conflist without losing where each entry stands.

use std::ops::Range;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{CILIUM_TYPE, CNI_VERSIONS, META_TYPES, PLUGIN_TYPE, TERWAY_TYPE, lists};

/// Why a text cannot be taken as a conflist. Messages go after the file's name.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Problem {
    /// No bytes, or only white space or NUL bytes: what a power cut leaves of a file.
    #[error(
        "is empty: its owner has to write it again (for terway restart the terway pod of this node)"
    )]
    Empty,
    /// Not JSON.
    #[error(
        "is not valid JSON ({0}): it was cut short or edited by hand; its owner has to write it again"
    )]
    NotJson(String),
    /// One plugin without a list.
    #[error(
        "is a single-plugin configuration (type {0:?}), which cannot chain plugins and is never converted here: \
         provide a conflist (for terway key 10-terway.conflist in ConfigMap kube-system/eni-config), \
         or name another file with --conf-name"
    )]
    SinglePlugin(String),
    /// A plugin that has others called, and says by name only which.
    #[error("is a configuration of {0}, which calls the plugins of another list")]
    Elsewhere(String),
    /// JSON of another shape.
    #[error("is not a CNI conflist: {0}")]
    Shape(String),
    /// A version that the plugin does not speak.
    #[error(
        "has cniVersion {0}, which sockway does not know (it knows 0.3.0, 0.3.1, 0.4.0, 1.0.0 and 1.1.0)"
    )]
    Version(String),
    /// No plugin that makes an interface.
    #[error("lists no plugin that makes an interface: sockway can only be chained behind one")]
    NoMainPlugin,
}

/// One entry of `plugins`.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// Its `type`.
    pub kind: String,
    /// Where it stands in the text, bytes.
    pub span: Range<usize>,
    /// What it says.
    pub value: Value,
}

/// A conflist and where its entries stand: the document's own, or the copy of one in the configuration
/// of a plugin that has others called.
#[derive(Clone, Debug)]
pub struct Conflist<'a> {
    /// The text it was read from.
    pub text: &'a str,
    /// Its `name`, empty where it has none.
    pub name: String,
    /// The name of the network whose configuration holds it; its own where it is the document's.
    pub outer_name: String,
    /// Whether it is a copy inside another plugin's configuration.
    pub embedded: bool,
    /// Its `cniVersion` (with `cniVersions` the newest) that the plugin speaks, or what stands there instead.
    pub version: Result<String, String>,
    /// The chain, in the order of ADD.
    pub plugins: Vec<Plugin>,
}

#[derive(Deserialize)]
struct Spans<'a> {
    #[serde(borrow)]
    plugins: Vec<&'a RawValue>,
}

impl<'a> Conflist<'a> {
    /// Reads the list of which a pod's default interface is made.
    ///
    /// # Errors
    ///
    /// [`Problem`] where the runtime, or the plugin, would not take the list.
    pub fn parse(text: &'a str) -> Result<Self, Problem> {
        let (outer, kind) = match Self::outermost(text) {
            Ok(list) => match list.meta() {
                None => return Ok(list),
                Some(kind) => (Ok(list.version.clone()), kind.to_owned()),
            },
            Err(Problem::SinglePlugin(kind)) => (Err(Problem::SinglePlugin(kind.clone())), kind),
            Err(problem) => return Err(problem),
        };
        let whole: Value =
            serde_json::from_str(text).map_err(|e| Problem::NotJson(e.to_string()))?;
        let outer_version = match &outer {
            Ok(version) => version.clone(),
            Err(_) => whole.as_object().map_or(Err(String::new()), version),
        };
        let outer_name = name(&whole);
        let lists = lists::all(text).map_err(|e| Problem::NotJson(e.to_string()))?;
        // The first one is what the pod's default interface is made by.
        match lists.iter().find_map(|list| Self::embedded(text, list)) {
            Some(mut list) => {
                list.version = list.version.or(outer_version);
                list.outer_name = outer_name;
                Ok(list)
            }
            None if META_TYPES.contains(&kind.as_str()) => Err(Problem::Elsewhere(kind)),
            None => Err(outer.err().unwrap_or(Problem::NoMainPlugin)),
        }
    }

    /// A list that is not the document's own.
    fn embedded(text: &'a str, list: &lists::List<'a>) -> Option<Self> {
        let holder = list.holder.filter(|_| !list.outermost)?;
        let whole: Value = serde_json::from_str(holder.get()).ok()?;
        let members = list.members.iter().zip(whole["plugins"].as_array()?);
        let plugins = members.map(|((kind, span), value)| Plugin {
            kind: kind.clone(),
            span: span.clone(),
            value: value.clone(),
        });
        let plugins: Vec<Plugin> = plugins.collect();
        let is_plugin = |p: &Plugin| !p.kind.is_empty();
        (plugins.len() == list.members.len() && plugins.iter().all(is_plugin)).then(|| Self {
            text,
            name: name(&whole),
            outer_name: String::new(),
            embedded: true,
            version: whole.as_object().map_or(Err(String::new()), version),
            plugins,
        })
    }

    /// The plugin of the list that has others called.
    fn meta(&self) -> Option<&str> {
        let kinds = self.plugins.iter().map(|p| p.kind.as_str());
        kinds.into_iter().find(|kind| META_TYPES.contains(kind))
    }

    fn outermost(text: &'a str) -> Result<Self, Problem> {
        if text
            .trim_matches(|c: char| c.is_whitespace() || c == '\0')
            .is_empty()
        {
            return Err(Problem::Empty);
        }
        let whole: Value =
            serde_json::from_str(text).map_err(|e| Problem::NotJson(e.to_string()))?;
        let Value::Object(list) = &whole else {
            return Err(Problem::Shape("the document is not an object".to_owned()));
        };
        if !list.contains_key("plugins")
            && let Some(kind) = list.get("type")
        {
            return Err(Problem::SinglePlugin(
                kind.as_str().unwrap_or_default().to_owned(),
            ));
        }
        let version = version(list);
        let spans: Spans<'_> =
            serde_json::from_str(text).map_err(|e| Problem::Shape(e.to_string()))?;
        let plugins = spans
            .plugins
            .into_iter()
            .enumerate()
            .map(|(index, raw)| plugin(text, index, raw))
            .collect::<Result<Vec<_>, _>>()?;
        let name = name(&whole);
        Ok(Self {
            text,
            outer_name: name.clone(),
            name,
            embedded: false,
            version,
            plugins,
        })
    }

    /// The version, where the plugin speaks it.
    ///
    /// # Errors
    ///
    /// [`Problem::Version`].
    pub fn known_version(&self) -> Result<&str, Problem> {
        self.version
            .as_deref()
            .map_err(|stated| Problem::Version(stated.clone()))
    }

    /// Our entry, where there is one.
    pub fn ours(&self) -> Option<&Plugin> {
        self.plugins.iter().find(|p| p.kind == PLUGIN_TYPE)
    }

    /// The plugin that makes the interface: terway, else the first of the list.
    ///
    /// # Errors
    ///
    /// [`Problem::NoMainPlugin`] where the list has nothing but ourselves.
    pub fn main_plugin(&self) -> Result<usize, Problem> {
        let is = |kind: &str| self.plugins.iter().position(|p| p.kind == kind);
        is(TERWAY_TYPE)
            .or_else(|| self.plugins.iter().position(|p| p.kind != PLUGIN_TYPE))
            .ok_or(Problem::NoMainPlugin)
    }

    /// The entry after which ours goes in.
    ///
    /// # Errors
    ///
    /// [`Problem::NoMainPlugin`] as for [`Self::main_plugin`].
    pub fn anchor(&self) -> Result<usize, Problem> {
        let main = self.main_plugin()?;
        if self.plugins[main].kind != TERWAY_TYPE {
            return Ok(main);
        }
        // terway's eBPF datapath sets up the interface in cilium-cni: the pod
        // is complete only after it.
        let cilium = self.plugins.iter().rposition(|p| p.kind == CILIUM_TYPE);
        Ok(cilium.map_or(main, |at| at.max(main)))
    }
}

fn name(list: &Value) -> String {
    list["name"].as_str().unwrap_or_default().to_owned()
}

fn plugin(text: &str, index: usize, raw: &RawValue) -> Result<Plugin, Problem> {
    let start = raw.get().as_ptr().addr() - text.as_ptr().addr();
    let value: Value =
        serde_json::from_str(raw.get()).map_err(|e| Problem::NotJson(e.to_string()))?;
    let Some(kind) = value.get("type").and_then(Value::as_str) else {
        return Err(Problem::Shape(format!(
            "entry {index} of plugins has no type"
        )));
    };
    Ok(Plugin {
        kind: kind.to_owned(),
        span: start..start + raw.get().len(),
        value,
    })
}

fn version(list: &serde_json::Map<String, Value>) -> Result<String, String> {
    let known = |v: &str| CNI_VERSIONS.iter().position(|known| *known == v);
    let offered: Vec<&str> = list
        .get("cniVersions")
        .and_then(Value::as_array)
        .map(|all| all.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let stated = list.get("cniVersion").and_then(Value::as_str);
    match offered
        .iter()
        .copied()
        .chain(stated)
        .filter_map(known)
        .max()
    {
        Some(newest) => Ok(CNI_VERSIONS[newest].to_owned()),
        None => Err(stated.map_or_else(
            || "missing (the specification reads that as 0.1.0)".to_owned(),
            |version| format!("{version:?}"),
        )),
    }
}
