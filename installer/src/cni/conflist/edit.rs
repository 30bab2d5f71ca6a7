//! Putting our entry in and taking it out.

use std::ops::Range;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::parse::{Conflist, Problem};
use super::{PLUGIN_TYPE, lists};

/// What has to happen to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// It is as it should be: do not write.
    Nothing,
    /// It should hold this text.
    Write(String),
}

/// Makes sure that `entry`, which must be an object of our type, is in the list exactly once,
/// behind the plugin that makes the interface.
///
/// An entry of ours that is there already is replaced where it stands.
///
/// # Errors
///
/// [`Problem`] where `text` is no conflist that we can chain into.
pub fn insert(text: &str, entry: &Value) -> Result<Edit, Problem> {
    let list = Conflist::parse(text)?;
    list.known_version()?;
    let main = list.main_plugin()?;
    if let Some(less) = without_others(&list)? {
        // As a copy of the list that another plugin made, or of an installer that took the wrong one.
        return Ok(match insert(&less, entry)? {
            Edit::Nothing => Edit::Write(less),
            write @ Edit::Write(_) => write,
        });
    }
    let ours = positions(&list);
    let keep = ours.iter().copied().find(|&at| at > main);
    let surplus: Vec<usize> = ours.into_iter().filter(|&at| Some(at) != keep).collect();
    if let Some((&last, _)) = surplus.split_last() {
        // Rare (another installer's doing), so one at a time and again from the start.
        let less = cut(&list, last);
        return Ok(match insert(&less, entry)? {
            Edit::Nothing => Edit::Write(less),
            write @ Edit::Write(_) => write,
        });
    }
    if let Some(at) = keep {
        let present = &list.plugins[at];
        if present.value == *entry {
            return Ok(Edit::Nothing);
        }
        let new = render(&list, at, entry);
        let span = present.span.clone();
        return Ok(Edit::Write(splice(text, span.start, span.end, &new)));
    }
    let anchor = list.anchor()?;
    let end = list.plugins[anchor].span.end;
    let separator = indent_of(&list, anchor).map_or(", ".to_owned(), |ws| format!(",\n{ws}"));
    let new = separator + &render(&list, anchor, entry);
    Ok(Edit::Write(splice(text, end, end, &new)))
}

/// Takes every entry of ours out, whatever the list says, wherever in the document it is.
///
/// # Errors
///
/// [`Problem`] where `text` is no JSON.
pub fn remove(text: &str) -> Result<Edit, Problem> {
    let mut current = None;
    loop {
        let now = current.as_deref().unwrap_or(text);
        if now
            .trim_matches(|c: char| c.is_whitespace() || c == '\0')
            .is_empty()
        {
            return Err(Problem::Empty);
        }
        let lists = lists::all(now).map_err(|e| Problem::NotJson(e.to_string()))?;
        let found = lists
            .iter()
            .find_map(|list| Some((list, list.ours().last()?)));
        let Some((list, at)) = found else {
            return Ok(current.map_or(Edit::Nothing, Edit::Write));
        };
        let spans: Vec<_> = list.members.iter().map(|(_, span)| span.clone()).collect();
        current = Some(cut_from(now, &spans, at));
    }
}

/// Whether a runtime that loads the text may call the plugin; in doubt it may.
pub fn names_plugin(text: &str) -> bool {
    text.contains(PLUGIN_TYPE)
        && lists::all(text).map_or(true, |lists| {
            let written = |list: &lists::List<'_>| list.ours().next().is_some();
            lists.iter().any(written) || single(text)
        })
}

/// A configuration of our plugin alone, which nobody chains.
fn single(text: &str) -> bool {
    let whole: Result<Value, _> = serde_json::from_str(text);
    whole.is_ok_and(|whole| whole["type"] == PLUGIN_TYPE)
}

/// The text without one entry of ours that stands in another list than `list`; `None` where there is none.
fn without_others(list: &Conflist<'_>) -> Result<Option<String>, Problem> {
    let lists = lists::all(list.text).map_err(|e| Problem::NotJson(e.to_string()))?;
    let own = list.plugins.first().map(|p| p.span.start);
    for other in &lists {
        let spans: Vec<_> = other.members.iter().map(|(_, span)| span.clone()).collect();
        if spans.first().map(|span| span.start) == own {
            continue;
        }
        if let Some(at) = other.ours().last() {
            return Ok(Some(cut_from(list.text, &spans, at)));
        }
    }
    Ok(None)
}

fn positions(list: &Conflist<'_>) -> Vec<usize> {
    let ours = |(at, p): (usize, &super::Plugin)| (p.kind == PLUGIN_TYPE).then_some(at);
    list.plugins.iter().enumerate().filter_map(ours).collect()
}

fn splice(text: &str, start: usize, end: usize, new: &str) -> String {
    [&text[..start], new, &text[end..]].concat()
}

/// The text without entry `at` and without the comma that parts it from its neighbour.
fn cut(list: &Conflist<'_>, at: usize) -> String {
    let spans: Vec<_> = list.plugins.iter().map(|p| p.span.clone()).collect();
    cut_from(list.text, &spans, at)
}

fn cut_from(text: &str, spans: &[Range<usize>], at: usize) -> String {
    let span = &spans[at];
    let (start, end) = match (at.checked_sub(1), spans.get(at + 1)) {
        (Some(before), _) => (spans[before].end, span.end),
        (None, Some(next)) => (span.start, next.start),
        (None, None) => (span.start, span.end),
    };
    splice(text, start, end, "")
}

/// The white space before entry `at`, where the entry starts a line.
fn indent_of<'a>(list: &Conflist<'a>, at: usize) -> Option<&'a str> {
    let before = &list.text[..list.plugins[at].span.start];
    let line = &before[before.rfind('\n')? + 1..];
    line.bytes()
        .all(|b| b == b' ' || b == b'\t')
        .then_some(line)
}

/// Our entry as text in the style of entry `at`: on one line where that is, else indented like it.
fn render(list: &Conflist<'_>, at: usize, entry: &Value) -> String {
    let neighbour = &list.text[list.plugins[at].span.clone()];
    let Some(indent) = indent_of(list, at) else {
        return entry.to_string();
    };
    let unit = unit_of(neighbour, indent);
    let mut bytes = Vec::new();
    let mut out =
        Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(unit.as_bytes()));
    if entry.serialize(&mut out).is_err() {
        return entry.to_string();
    }
    String::from_utf8_lossy(&bytes).replace('\n', &format!("\n{indent}"))
}

/// By how much an entry's members stand further in than the entry; two spaces where it does not show.
fn unit_of<'a>(entry: &'a str, indent: &str) -> &'a str {
    let second = entry.lines().nth(1).unwrap_or_default();
    let blank = &second[..second.len() - second.trim_start().len()];
    blank
        .strip_prefix(indent)
        .filter(|unit| !unit.is_empty())
        .unwrap_or("  ")
}
