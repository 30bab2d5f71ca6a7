//! `cargo xtask fuzz`: libFuzzer on everything that is read from others.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::Verb;
use crate::{Workspace, cargo, command};

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "fuzz",
    help: "libFuzzer, 60 s for each parser [TARGET...] [--seconds N]",
    run,
};

/// What `scripts/setup fuzz` built.
const CARGO_FUZZ: &str = "SOCKWAY_CARGO_FUZZ";
/// The crate with the targets and the kept corpus.
const CRATE: &str = "e2e/fuzz";
/// Longer inputs are refused unread (1 MiB); these are long enough for every branch.
const MAX_LEN: u32 = 16 << 10;

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    let known = targets(workspace)?;
    let (wanted, seconds) = choose(&known, arguments)?;
    for (index, target) in wanted.iter().enumerate() {
        let (of, done) = (wanted.len(), index + 1);
        eprintln!("=== fuzz {done}/{of}: {target}, {seconds} s");
        fuzz(workspace, target, seconds)?;
    }
    println!("{} parsers, {seconds} s each: nothing found", wanted.len());
    Ok(())
}

/// The targets: each has its kept inputs.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let directory = workspace.root().join(CRATE).join("corpus");
    let entries =
        fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
    let mut names = entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

fn choose(known: &[String], arguments: &[String]) -> Result<(Vec<String>, u32)> {
    let mut wanted = Vec::new();
    let mut seconds = 60;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--seconds" {
            let number = rest.next().and_then(|number| number.parse().ok());
            seconds = number.context("--seconds needs a number")?;
        } else if known.contains(argument) {
            wanted.push(argument.clone());
        } else {
            bail!(
                "there is no target {argument:?}; the targets are {}",
                known.join(", ")
            );
        }
    }
    if wanted.is_empty() {
        wanted = known.to_vec();
    }
    Ok((wanted, seconds))
}

fn fuzz(workspace: &Workspace, target: &str, seconds: u32) -> Result<()> {
    let program = workspace
        .tools()
        .get(CARGO_FUZZ)
        .with_context(|| format!("{CARGO_FUZZ} is not known: run scripts/setup fuzz"))?;
    // What is found goes to the first directory; the kept corpus is read only.
    let found = workspace.target().join("fuzz/corpus").join(target);
    fs::create_dir_all(&found).with_context(|| format!("cannot create {}", found.display()))?;
    let kept = PathBuf::from(CRATE).join("corpus").join(target);
    let mut fuzz = Command::new(program);
    fuzz.current_dir(workspace.root())
        .env("CARGO_TARGET_DIR", workspace.target().join("fuzz"))
        .env("CARGO", cargo::path())
        // A release build would want the eBPF object, which no parser needs.
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "3")
        .args(["fuzz", "run", "--dev", "--fuzz-dir", CRATE])
        .args(["--features", "engine"])
        // No unsafe code in the crates under test: no sanitizer, and so no nightly compiler.
        .args(["--sanitizer", "none", target])
        .args([&found, &kept])
        .arg("--")
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={MAX_LEN}"))
        .arg("-timeout=10");
    command::run(&mut fuzz)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_and_time_can_be_chosen() {
        let known = ["a".to_owned(), "b".to_owned()];
        let of = |arguments: &[&str]| {
            choose(
                &known,
                &arguments.iter().map(|&a| a.to_owned()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(of(&[]).unwrap(), (known.to_vec(), 60));
        assert_eq!(
            of(&["b", "--seconds", "5"]).unwrap(),
            (vec!["b".to_owned()], 5)
        );
        assert!(of(&["c"]).unwrap_err().to_string().contains("a, b"));
        assert!(of(&["--seconds"]).is_err());
    }
}
