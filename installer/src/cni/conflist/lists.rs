//! Every list of plugins in a document, however deep: multus keeps a copy of the main list inside its
//! own file, which may itself be a list.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::value::RawValue;

use super::PLUGIN_TYPE;

/// No configuration nests deeper; what does is not looked into.
const DEEPEST: usize = 16;

/// An array somewhere in a document, of which at least one member is a plugin.
#[derive(Clone, Debug)]
pub(super) struct List<'a> {
    /// The object that has the array as `plugins`; `None` for arrays under other names.
    pub(super) holder: Option<&'a RawValue>,
    /// Whether the holder is the document itself.
    pub(super) outermost: bool,
    /// The members: each one's `type`, empty where it has none, and where it stands in the text.
    pub(super) members: Vec<(String, Range<usize>)>,
}

impl List<'_> {
    /// Where our entries stand among the members.
    pub(super) fn ours(&self) -> impl Iterator<Item = usize> {
        let members = self.members.iter().enumerate();
        members.filter_map(|(at, (kind, _))| (kind == PLUGIN_TYPE).then_some(at))
    }
}

/// All of them, an outer one before those inside it. `text` must be JSON.
pub(super) fn all(text: &str) -> Result<Vec<List<'_>>, serde_json::Error> {
    let document: &RawValue = serde_json::from_str(text)?;
    let mut found = Vec::new();
    Walk {
        text,
        found: &mut found,
    }
    .value(document, 0);
    Ok(found)
}

struct Walk<'a, 'b> {
    text: &'a str,
    found: &'b mut Vec<List<'a>>,
}

impl<'a> Walk<'a, '_> {
    fn value(&mut self, value: &'a RawValue, depth: usize) {
        if depth > DEEPEST {
            return;
        }
        if let Some(members) = object(value) {
            for (key, member) in members {
                if let Some(items) = array(member) {
                    let holder = (key == "plugins").then_some(value);
                    self.list(&items, holder, depth == 0);
                    for item in items {
                        self.value(item, depth + 2);
                    }
                } else {
                    self.value(member, depth + 1);
                }
            }
        } else if let Some(items) = array(value) {
            self.list(&items, None, false);
            for item in items {
                self.value(item, depth + 1);
            }
        }
    }

    fn list(&mut self, items: &[&'a RawValue], holder: Option<&'a RawValue>, outermost: bool) {
        let members: Vec<_> = items
            .iter()
            .map(|item| (kind(item).unwrap_or_default(), self.span(item)))
            .collect();
        if members.iter().any(|(kind, _)| !kind.is_empty()) {
            self.found.push(List {
                holder,
                outermost,
                members,
            });
        }
    }

    fn span(&self, raw: &RawValue) -> Range<usize> {
        let start = raw.get().as_ptr().addr() - self.text.as_ptr().addr();
        start..start + raw.get().len()
    }
}

/// The members of an object. Of a key that is there twice the last one counts, as for libcni.
fn object(raw: &RawValue) -> Option<BTreeMap<String, &RawValue>> {
    raw.get().starts_with('{').then_some(())?;
    serde_json::from_str(raw.get()).ok()
}

fn array(raw: &RawValue) -> Option<Vec<&RawValue>> {
    raw.get().starts_with('[').then_some(())?;
    serde_json::from_str(raw.get()).ok()
}

fn kind(raw: &RawValue) -> Option<String> {
    serde_json::from_str(object(raw)?.get("type")?.get()).ok()
}
