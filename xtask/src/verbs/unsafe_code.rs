//! `cargo xtask unsafe`: every `unsafe` and why it is sound there.

use anyhow::Result;

use super::{Verb, no_arguments};
use crate::{Workspace, tracked};

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "unsafe",
    help: "every unsafe block and implementation, with its reason",
    run,
};

/// What clippy's `undocumented_unsafe_blocks` asks for.
const REASON: &str = "// SAFETY:";

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    no_arguments(arguments)?;
    let mut found = 0;
    for (name, text) in tracked::texts(workspace, &["*.rs"])? {
        for (line, reason) in reasons(&text) {
            println!("{name}:{line}: {reason}");
            found += 1;
        }
    }
    println!("{found} reasons");
    Ok(())
}

/// Line numbers, from 1, and reasons, of which each may go over several lines.
fn reasons(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().map(str::trim).enumerate() {
        if let Some(reason) = line.strip_prefix(REASON) {
            found.push((number + 1, reason.trim().to_owned()));
            inside = true;
        } else if let (true, Some(more), Some((_, reason))) =
            (inside, line.strip_prefix("// "), found.last_mut())
        {
            reason.push(' ');
            reason.push_str(more);
        } else {
            inside = false;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::reasons;

    #[test]
    fn a_reason_may_go_over_lines() {
        let text = "fn f() {\n    // SAFETY: takes numbers\n    // only.\n    unsafe { g() };\n    // Not this.\n}";
        assert_eq!(reasons(text), [(2, "takes numbers only.".to_owned())]);
    }
}
