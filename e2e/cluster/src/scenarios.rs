//! What is shown in the cluster: each scenario is a job or a trouble of an operator.

mod article;
mod features;
mod install;
mod life;
mod outside;
mod terway;

use std::time::Instant;

use anyhow::{Result, bail, ensure};

use crate::kubectl::Kubectl;
use crate::options::Options;
use crate::versions;

/// One of them.
struct Scenario {
    name: &'static str,
    about: &'static str,
    run: fn(&mut Stage) -> Result<()>,
}

const ALL: [Scenario; 6] = [
    Scenario {
        name: "install",
        about: "chart and manifest as they are: ready, rights, what an operator sees, uninstall",
        run: install::run,
    },
    Scenario {
        name: "article",
        about: "the article's Deployments and commands: plain, auto and all, mutual TLS on and off",
        run: article::run,
    },
    Scenario {
        name: "features",
        about: "Istio's features, beside plain",
        run: features::run,
    },
    Scenario {
        name: "outside",
        about: "Prometheus, every panel, every rule",
        run: outside::run,
    },
    Scenario {
        name: "life",
        about: "a day in the life, under verified traffic",
        run: life::run,
    },
    Scenario {
        name: "terway",
        about: "chained after terway, both orders of arrival",
        run: terway::run,
    },
];

/// What a scenario works with.
pub(crate) struct Stage<'a> {
    pub(crate) kubectl: &'a Kubectl,
    pub(crate) options: &'a Options,
    notes: Vec<String>,
    faults: Vec<String>,
    started: Instant,
}

impl Stage<'_> {
    /// A line for the summary, shown at once.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        let text = text.into();
        eprintln!("  {:5.0} s  {text}", self.started.elapsed().as_secs_f64());
        self.notes.push(text);
    }

    /// Something that is not as it should be; the scenario goes on.
    pub(crate) fn fault(&mut self, text: impl Into<String>) {
        let text = text.into();
        eprintln!(
            "  {:5.0} s  FAULT {text}",
            self.started.elapsed().as_secs_f64()
        );
        self.faults.push(text);
    }

    /// A part of a scenario: its error is a fault, and the next part runs.
    pub(crate) fn part(&mut self, what: &str, part: impl FnOnce(&mut Self) -> Result<()>) {
        if let Err(error) = part(self) {
            self.fault(format!("{what}: {error:#}"));
        }
    }
}

/// Runs those that are asked for, prints the summary, and is an error where one failed.
pub(crate) fn run(kubectl: &Kubectl, options: &Options) -> Result<()> {
    let names = ALL.each_ref().map(|scenario| scenario.name);
    for name in &options.only {
        ensure!(
            names.contains(&name.as_str()),
            "no scenario is called {name}: there are {}",
            names.join(", ")
        );
    }
    let mut failed = Vec::new();
    let mut summary = versions::lines(kubectl, options)?;
    for scenario in &ALL {
        if !options.only.is_empty() && !options.only.iter().any(|name| name == scenario.name) {
            continue;
        }
        eprintln!("{}: {}", scenario.name, scenario.about);
        let started = Instant::now();
        let mut stage = Stage {
            kubectl,
            options,
            notes: Vec::new(),
            faults: Vec::new(),
            started,
        };
        if let Err(error) = (scenario.run)(&mut stage) {
            stage.fault(format!("{error:#}"));
        }
        let good = stage.faults.is_empty();
        let word = if good { "ok" } else { "FAILED" };
        summary.push(format!(
            "{} {word} in {:.0} s",
            scenario.name,
            started.elapsed().as_secs_f64()
        ));
        summary.extend(stage.notes.iter().map(|note| format!("  {note}")));
        summary.extend(stage.faults.iter().map(|fault| format!("  FAULT {fault}")));
        if !good {
            failed.push(scenario.name);
        }
    }
    println!("\n{}", summary.join("\n"));
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}
