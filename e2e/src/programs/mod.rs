//! `sockway-e2e programs`: real programs behind sidecars, first on plain TCP,
//! then accelerated, and whether anything differs.

mod curl;
mod facts;
mod fionread;
mod flags;
mod golang;
mod hyper;
mod java;
mod manner;
mod meter;
pub(crate) mod options;
mod others;
mod program;
mod redis;
mod route;
mod scripts;
mod site;
mod stage;
mod table;
mod tools;
mod transfer;
mod web;

use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use options::Options;
use program::Program;
use sockway_testkit::mesh::tools::Tools;
use sockway_testkit::output::{self, Format};
use sockway_testkit::stop;
use stage::Stage;
use table::Table;

fn all() -> Vec<Program> {
    let lists = [
        golang::programs(),
        hyper::programs(),
        java::programs(),
        scripts::programs(),
        others::programs(),
        web::programs(),
    ];
    lists.into_iter().flatten().collect()
}

/// Runs the programs whose name contains a filter.
pub(crate) fn run(options: &Options, format: Format) -> Result<()> {
    let filters = &options.filters;
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|part| name.contains(part));
    let programs: Vec<_> = all().into_iter().filter(|one| wanted(one.name)).collect();
    if options.list {
        for program in &programs {
            println!("{}", program.name);
        }
        return Ok(());
    }
    if programs.is_empty() {
        bail!("no program's name contains any of {filters:?}; --list shows all");
    }
    let stage = Stage::new(&Tools::find()?, options)?;
    let ports = programs
        .iter()
        .map(|program| stage.port(program))
        .collect::<Result<Vec<_>>>()?;

    stage.world.plain()?;
    let mut plain = Vec::new();
    for (program, port) in programs.iter().zip(&ports) {
        let started = Instant::now();
        let outcome = stage.exchange(program, *port, "plain");
        said("plain", program, started);
        plain.push(outcome);
        stop::check()?;
    }
    stage.world.accelerated()?;
    let _keeper = stage.keeper().context("start sockway run")?;
    let mut rows = Vec::new();
    for ((program, port), plain) in programs.iter().zip(&ports).zip(plain) {
        let started = Instant::now();
        let row = stage.compare(program, *port, plain);
        stop::check()?;
        said(row.outcome(), program, started);
        rows.push(row);
    }
    let table = Table {
        rows,
        fionread_is_right: stage.fionread_is_right,
    };
    output::print(&table, format)?;
    table.verdict(!options.no_bars)
}

fn said(word: &str, program: &Program, started: Instant) {
    let took = started.elapsed().as_secs_f64();
    eprintln!("{word:<8}{:<48}{took:>6.2} s", program.name);
}
