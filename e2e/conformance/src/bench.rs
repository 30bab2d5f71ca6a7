//! `sockway-conformance bench`: what a call costs, as a whole process, beside
//! the reference plugins in Go.

mod memory;
mod subjects;
mod table;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

use crate::node::Node;
use crate::report::Report;
use crate::tools::Tools;
use crate::world::World;
use subjects::Subject;
use table::{Cost, Figures, Table};

/// Bars for our own calls on an idle machine.
const BAR_P50: Duration = Duration::from_micros(1500);
const BAR_P99: Duration = Duration::from_millis(5);
/// Bar for the peak of resident memory, KiB; holds on any machine.
const BAR_RSS_KIB: u64 = 4 << 10;
/// How much more CPU time an ADD may take with 10 000 pods than with one; holds
/// on any machine.
const BAR_FLAT: f64 = 1.5;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// How often each plugin is called, in turn with the others
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(20..))]
    rounds: u32,
    /// Hold ADD and DEL to the bars too: for an idle machine
    #[arg(long)]
    bars: bool,
    /// How the figures are printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table
    Text,
    /// One line of JSON
    Json,
}

/// Measures, prints, and judges.
pub(crate) fn run(
    world: &World,
    tools: &Tools,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let node = Node::new(world, tools)?;
    let subjects = subjects::all(&node)?;
    let mut calls = vec![[Vec::new(), Vec::new()]; subjects.len()];
    // In turn, so that a busy moment of the machine hits every one of them.
    for _ in 0..options.rounds {
        for (subject, calls) in subjects.iter().zip(&mut calls) {
            for (verb, calls) in ["ADD", "DEL"].iter().zip(calls) {
                let before = cpu()?;
                let took = subject.invocation.run(verb)?;
                calls.push(Cost {
                    took,
                    cpu: cpu()?.saturating_sub(before),
                });
            }
        }
    }
    let mut table = Table::new(options.rounds);
    for (subject, [add, del]) in subjects.iter().zip(calls) {
        let rss_kib = memory::peak(&subject.invocation)?;
        table.add(
            &subject.name,
            subject.ours,
            Figures::of(&add),
            Figures::of(&del),
            rss_kib,
        );
    }
    match options.output {
        Output::Text => println!("{table}"),
        Output::Json => println!("{}", table.json()),
    }
    judge(&table, &subjects, options.bars, report);
    Ok(())
}

/// CPU time of all processes that were waited for.
fn cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("getrusage")?;
    let (user, system) = (usage.user_time(), usage.system_time());
    let micros = user.num_microseconds() + system.num_microseconds();
    Ok(Duration::from_micros(
        u64::try_from(micros).context("a time")?,
    ))
}

fn judge(table: &Table, subjects: &[Subject], bars: bool, report: &mut Report) {
    for reference in subjects.iter().filter(|subject| !subject.ours) {
        report.case(&format!("bench/faster-than-{}", reference.name), || {
            let slowest = table
                .ours()
                .map(|row| row.add.p50)
                .max()
                .unwrap_or_default();
            let theirs = table.row(&reference.name)?.add.p50;
            if slowest >= theirs {
                bail!("ADD takes {slowest:?}, {} takes {theirs:?}", reference.name);
            }
            Ok(())
        });
    }
    report.case("bench/memory", || {
        let most = table
            .ours()
            .map(|row| row.rss_kib)
            .max()
            .unwrap_or_default();
        if most > BAR_RSS_KIB {
            bail!("a call takes {most} KiB, at most {BAR_RSS_KIB} are wanted");
        }
        Ok(())
    });
    report.case("bench/flat", || {
        let mut ours = table.ours().map(|row| row.add.cpu.as_secs_f64());
        let (first, last) = (
            ours.next().unwrap_or_default(),
            ours.last().unwrap_or_default(),
        );
        if last > first * BAR_FLAT {
            bail!("{:.2} times the CPU time with many pods", last / first);
        }
        Ok(())
    });
    if !bars {
        return;
    }
    for row in table.ours() {
        report.case(&format!("bench/bars/{}", row.name), || {
            for (verb, figures) in [("ADD", row.add), ("DEL", row.del)] {
                if figures.p50 > BAR_P50 || figures.p99 > BAR_P99 {
                    bail!("{verb}: p50 {:?}, p99 {:?}", figures.p50, figures.p99);
                }
            }
            Ok(())
        });
    }
}
