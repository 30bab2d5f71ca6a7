//! `sockway-e2e programs`: real programs behind sidecars, first on plain TCP,
//! then accelerated, and whether anything differs.

mod curl;
mod facts;
mod golang;
pub(crate) mod options;
mod others;
mod program;
mod readers;
mod site;
mod table;
mod tools;
mod web;

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use sockway_common::pair::hop;

use crate::bed::tools::Tools;
use crate::output::{self, Format};
use crate::stop;
use crate::world::World;
use facts::Facts;
use options::Options;
use program::{Program, Way};
use site::{Files, Site};
use table::{Row, Table};
use tools::Programs;

/// Bytes of a MiB.
const MIB: u64 = 1 << 20;

fn all() -> Vec<Program> {
    let lists = [golang::programs(), web::programs(), others::programs()];
    lists.into_iter().flatten().collect()
}

/// Runs the programs whose name contains a filter.
pub(crate) fn run(options: &Options, format: Format) -> Result<()> {
    let Options {
        filters,
        list,
        download,
    } = options;
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|part| name.contains(part));
    let programs: Vec<_> = all().into_iter().filter(|one| wanted(one.name)).collect();
    if *list {
        for program in &programs {
            println!("{}", program.name);
        }
        return Ok(());
    }
    if programs.is_empty() {
        bail!("no program's name contains any of {filters:?}; --list shows all");
    }
    let tools = Tools::find()?;
    let stage = Stage {
        programs: Programs::find(&tools)?,
        world: World::new(&tools).context("make the pods")?,
    };
    let files = stage.world.node.scratch.path("files");
    let files = Files::make(&files, u64::from(*download) * MIB)?;
    let ports = programs
        .iter()
        .map(|program| stage.world.port(program.protocol))
        .collect::<Result<Vec<_>>>()?;

    stage.world.plain()?;
    let mut plain = Vec::new();
    for (program, port) in programs.iter().zip(&ports) {
        plain.push(stage.exchange(program, *port, &files, "plain"));
        stop::check()?;
    }
    stage.world.accelerated()?;
    let mut rows = Vec::new();
    for ((program, port), plain) in programs.iter().zip(&ports).zip(plain) {
        let started = Instant::now();
        let row = stage.compare(program, *port, &files, plain);
        stop::check()?;
        eprintln!(
            "{:<8}{:<40}{:>6.2} s",
            row.outcome(),
            program.name,
            started.elapsed().as_secs_f64()
        );
        rows.push(row);
    }
    let table = Table(rows);
    output::print(&table, format)?;
    table.verdict()
}

struct Stage {
    programs: Programs,
    world: World,
}

impl Stage {
    /// Server and client once, in a directory of their own.
    fn exchange(&self, program: &Program, port: u16, files: &Files, mode: &str) -> Result<Facts> {
        let dir = self.world.node.scratch.path(&format!("{port}-{mode}"));
        fs::create_dir(&dir).with_context(|| format!("create {}", dir.display()))?;
        let site = Site {
            world: &self.world,
            programs: &self.programs,
            files,
            dir,
            port,
            family: program.family,
        };
        let servers = (program.start)(&site).context("start the server")?;
        let facts = (program.exchange)(&site);
        drop(servers);
        fs::remove_dir_all(&site.dir).context("remove the exchange's directory")?;
        facts
    }

    /// The accelerated exchange beside the plain one.
    fn compare(&self, program: &Program, port: u16, files: &Files, plain: Result<Facts>) -> Row {
        let mut row = Row::new(program.name);
        let judged = || -> Result<()> {
            let plain = plain.context("plain")?;
            row.plain = plain.digest();
            row.facts = plain.count();
            self.world.quiet()?;
            let before = self.world.figures()?;
            let accelerated = self.exchange(program, port, files, "accelerated");
            // Sums are complete when connections have ended.
            let quiet = self.world.quiet();
            let now = self.world.figures()?;
            row.hops = now.since(&before);
            row.left = table::reasons(&now.left_since(&before));
            row.readers = readers::of(&self.world, program.family, port)?;
            let accelerated = accelerated.context("accelerated")?;
            row.accelerated = accelerated.digest();
            let differences = plain.differences(&accelerated);
            ensure!(differences.is_empty(), "{differences}");
            quiet?;
            went(&row, hop::INBOUND, Way::Redirected)?;
            went(&row, hop::OUTBOUND, program.client)?;
            went(&row, hop::APP, program.server)
        };
        if let Err(error) = { judged }() {
            row.fault = Some(format!("{error:#}"));
        }
        row
    }
}

/// A hop's bytes went the way they should.
fn went(row: &Row, kind: u32, way: Way) -> Result<()> {
    let redirected = row.hops.get(kind).map_or(0, |hop| hop.messages);
    let name = hop::name(kind);
    match way {
        Way::Redirected => ensure!(redirected > 0, "nothing was redirected on hop {name}"),
        Way::Tcp => ensure!(
            redirected == 0,
            "{redirected} messages were redirected on hop {name}, whose application is to be left to TCP"
        ),
        Way::Either => {}
    }
    Ok(())
}
