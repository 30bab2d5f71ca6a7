//! `cargo xtask kernels`: the same checks on other kernels, under qemu.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::Verb;
use crate::Workspace;
use crate::arch::Arch;
use crate::interrupt;
use crate::kernels::machine::{self, Plan};
use crate::kernels::table::{self, Found};
use crate::kernels::{CHECKS, Kernel, image};
use crate::ring::{Count, Ring};

/// See [`Verb`].
pub const VERB: Verb = Verb {
    name: "kernels",
    help: "other kernels under qemu [KERNEL...] [--arch arm64] [--only CHECK[,CHECK]] [--test WORD] [--all] [--at-once N] [-o json]",
    run,
};

/// Cases of the integrity suite that each guest runs: every hop, both families, the
/// beginnings and ends of connections that went wrong elsewhere.
const INTEGRITY: [&str; 7] = [
    "integrity/through_both_envoys_v4",
    "integrity/through_both_envoys_v6",
    "integrity/to_itself_by_service_address_v4",
    "integrity/deferred_accept_direct",
    "integrity/half_close",
    "integrity/resets",
    "integrity/blocking_both",
];
/// Emulation is about ten times slower, but most of what suites do is waiting; of another
/// architecture it is slower still.
const fn pace(arch: Arch) -> u32 {
    match arch {
        Arch::Amd64 => 5,
        Arch::Arm64 => 10,
    }
}
/// Runs of the semantics suite at a time: most wait.
const JOBS: u32 = 12;
/// A guest is ended after that, times its pace.
const LIMIT: Duration = Duration::from_mins(6);
/// The same where it runs every case.
const LIMIT_ALL: Duration = Duration::from_mins(12);

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
struct Options {
    arch: Arch,
    kernels: Vec<String>,
    checks: Vec<String>,
    tests: Vec<String>,
    all: bool,
    at_once: usize,
    json: bool,
}

fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    if options.arch == Arch::Amd64 && Arch::HOST != Arch::Amd64 {
        bail!("amd64's kernels are booted on amd64 only: --arch arm64");
    }
    let kernels = Kernel::choose(workspace, options.arch, &options.kernels)?;
    if options.json {
        let found = check(workspace, &kernels, &options)?;
        println!("{:#}", table::json(&found));
        let mut count = Count::default();
        for (_, console) in &found {
            count.merge(console.count());
        }
        if count.failed > 0 {
            bail!("{count}");
        }
        return Ok(());
    }
    let mut found = Vec::new();
    let ring = Ring::run("kernels", |count| {
        found = check(workspace, &kernels, &options)?;
        for (_, console) in &found {
            count.merge(console.count());
        }
        Ok(())
    });
    println!("\n{}", table::human(&found));
    Ring::finish(&[ring])
}

/// Builds what guests need and hears all of them out.
fn check(workspace: &Workspace, kernels: &[Kernel], options: &Options) -> Result<Vec<Found>> {
    interrupt::survive()?;
    let directory = workspace.target().join(match options.arch {
        Arch::Amd64 => "kernels",
        Arch::Arm64 => "kernels-arm64",
    });
    fs::create_dir_all(&directory)
        .with_context(|| format!("cannot create {}", directory.display()))?;
    let root = image::build(workspace, options.arch, &directory)?;
    eprintln!("consoles: {}/KERNEL.log", directory.display());
    boot_all(kernels, &root, options, &directory)
}

/// Boots each, some at once; what they said, in the order of `kernels`.
fn boot_all(
    kernels: &[Kernel],
    root: &Path,
    options: &Options,
    directory: &Path,
) -> Result<Vec<Found>> {
    let pace = pace(options.arch);
    let plan = Plan {
        checks: options.checks.clone(),
        pace,
        jobs: JOBS,
        integrity: if options.all {
            vec!["integrity/".to_owned()]
        } else {
            INTEGRITY.map(str::to_owned).to_vec()
        },
        tests: options.tests.clone(),
        limit: pace * if options.all { LIMIT_ALL } else { LIMIT },
    };
    let waiting = Mutex::new(kernels.iter().enumerate().collect::<VecDeque<_>>());
    let found = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        loop {
            let next = waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop_front();
            let Some((at, kernel)) = next else {
                return Ok(());
            };
            let console = machine::boot(kernel, root, &plan, directory)?;
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.push((at, kernel.name.clone(), console));
        }
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..options.at_once).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| bail!("a worker panicked")))
    })?;
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.sort_by_key(|(at, _, _)| *at);
    Ok(found
        .into_iter()
        .map(|(_, name, console)| (name, console))
        .collect())
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let (arch, arguments) = Arch::take(arguments)?;
        let mut options = Self {
            arch,
            kernels: Vec::new(),
            checks: CHECKS.map(str::to_owned).to_vec(),
            tests: Vec::new(),
            all: false,
            at_once: 2,
            json: false,
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--all" => options.all = true,
                "--only" => {
                    let names = rest.next().context("--only needs a check")?;
                    options.checks = names.split(',').map(str::to_owned).collect();
                }
                "--test" => {
                    let word = rest.next().context("--test needs a word of its name")?;
                    if !word
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "_:/-".contains(c))
                    {
                        bail!("{word:?} is no word of a test's name");
                    }
                    options.tests.push(word.to_owned());
                }
                "--at-once" => {
                    let number = rest.next().and_then(|number| number.parse().ok());
                    options.at_once = number
                        .filter(|&number| number > 0)
                        .context("--at-once needs a number above 0")?;
                }
                "-o" | "--output" => match rest.next().map(String::as_str) {
                    Some("json") => options.json = true,
                    Some("human") => options.json = false,
                    _ => bail!("{argument} needs human or json"),
                },
                name if name.starts_with('-') => bail!("there is no option {name:?}"),
                name => options.kernels.push(name.to_owned()),
            }
        }
        if let Some(check) = options
            .checks
            .iter()
            .find(|check| !CHECKS.contains(&check.as_str()))
        {
            bail!(
                "there is no check {check:?}; the checks are {}",
                CHECKS.join(", ")
            );
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&words)
    }

    #[test]
    fn kernels_and_checks_can_be_chosen() {
        let all = parse("").unwrap();
        assert_eq!((all.checks.len(), all.kernels.len()), (CHECKS.len(), 0));
        let some =
            parse("6.1 5.10 --arch arm64 --only load,semantics --test late::a --at-once 1 -o json")
                .unwrap();
        assert_eq!(some.tests, ["late::a"]);
        assert_eq!(some.kernels, ["6.1", "5.10"]);
        assert_eq!(some.checks, ["load", "semantics"]);
        assert!(some.json && some.at_once == 1);
        assert_eq!((all.arch, some.arch), (Arch::HOST, Arch::Arm64));
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (line, words) in [
            ("--only lode", "integrity"),
            ("--at-once 0", "--at-once"),
            ("--test $(x)", "a test's name"),
            ("-o xml", "json"),
            ("--fast", "--fast"),
        ] {
            let error = format!("{:#}", parse(line).unwrap_err());
            assert!(error.contains(words), "{error}");
        }
    }
}
