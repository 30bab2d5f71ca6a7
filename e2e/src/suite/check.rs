//! What cases assert with.

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use sockway_testkit::command::Ended;

/// A command failed the way it should: with this code, in these words, without a panic.
pub(crate) fn refused(ended: &Ended, code: i32, words: &[&str]) -> Result<()> {
    let Ended {
        code: found,
        stdout,
        stderr,
    } = ended;
    let said = format!("{stdout}\n{stderr}");
    ensure!(
        *found == Some(code),
        "exit code {found:?}, not {code}: {said}"
    );
    ensure!(!said.contains("panicked"), "it panicked: {said}");
    for word in words {
        ensure!(said.contains(word), "does not say {word:?}: {said}");
    }
    Ok(())
}

/// A command succeeded; its standard output.
pub(crate) fn succeeded(ended: &Ended) -> Result<&str> {
    let Ended {
        code,
        stdout,
        stderr,
    } = ended;
    ensure!(*code == Some(0), "exit code {code:?}: {stdout}\n{stderr}");
    Ok(stdout)
}

/// The plugin types of a conflist, in order.
pub(crate) fn chain(conflist: &Value) -> Result<Vec<&str>> {
    let Some(plugins) = conflist["plugins"].as_array() else {
        bail!("a conflist without plugins: {conflist}");
    };
    Ok(plugins
        .iter()
        .filter_map(|plugin| plugin["type"].as_str())
        .collect())
}
