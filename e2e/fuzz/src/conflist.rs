//! A conflist of another program's making, which the installer edits in place.

use serde_json::{Value, json};
use sockway_installer::cni::conflist::{Conflist, Edit, PLUGIN_TYPE, insert, remove};

/// `data` is a file of the CNI directory.
///
/// # Panics
/// Where an edit leaves no conflist behind, changes what is not ours, has to be
/// made twice, or cannot be taken back.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let entry = json!({"type": PLUGIN_TYPE, "scope": "auto"});
    let before = remove(text).map(|edit| after(edit, text));
    let Ok(edit) = insert(text, &entry) else {
        return;
    };
    let with = after(edit, text);
    let list = Conflist::parse(&with).expect("an edited list is a list");
    let ours = list.plugins.iter().filter(|p| p.kind == PLUGIN_TYPE);
    assert_eq!(ours.count(), 1, "exactly once");
    assert_eq!(list.ours().map(|p| &p.value), Some(&entry));
    assert_eq!(
        insert(&with, &entry),
        Ok(Edit::Nothing),
        "nothing to do again"
    );
    let without = after(remove(&with).expect("it can be taken out"), &with);
    let before = before.expect("what can be inserted into can be removed from");
    assert_eq!(others(&without), others(&before), "what is not ours stays");
    if !text.contains(PLUGIN_TYPE) {
        assert_eq!(without, text, "byte for byte");
    }
}

fn after(edit: Edit, text: &str) -> String {
    match edit {
        Edit::Nothing => text.to_owned(),
        Edit::Write(text) => text,
    }
}

fn others(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}
