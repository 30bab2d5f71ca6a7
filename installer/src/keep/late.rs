//! Bringing ends in late, and letting them out: a thread of the keeper, woken by the programs.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use sockway_common::layout::program;
use sockway_datapath::late::{Done, Events, Late, next_pass};
use sockway_datapath::{Error, Pins};

use super::pace::Pace;
use super::receive_hook::Hook;
use super::shared::Shared;
use super::tripwire;
use crate::reconcile::{self, SourceArgs};

/// How often connections are looked for that are older than the programs.
const ADOPT_EVERY: Duration = Duration::from_secs(30);
/// How often those of them that have ended are looked for.
const FORGET_EVERY: Duration = Duration::from_secs(10);
/// Longest time without a look whether anything is due.
const LOOK_UP: Duration = Duration::from_secs(1);
/// Between two tries to open what is not there.
const RETRY: Duration = Duration::from_millis(500);

/// What comes in late, and how it is seen that it may.
#[derive(Args, Clone, Debug)]
pub struct LateArgs {
    /// Whether connections that are open come in once their programs turn out to qualify; false: only those
    /// that are made from then on, and --existing-connections counts for nothing
    #[arg(long, value_name = "BOOL", env = "SOCKWAY_LATE", default_value_t = true,
          action = clap::ArgAction::Set, value_parser = clap::builder::BoolishValueParser::new())]
    pub late: bool,

    /// Whether connections that are older than the install come in too, where both ends are on the node
    #[arg(long, env = "SOCKWAY_EXISTING_CONNECTIONS", default_value_t = true,
          action = clap::ArgAction::Set, value_parser = clap::builder::BoolishValueParser::new())]
    pub existing_connections: bool,

    /// Where all processes of the node are seen: /proc with hostPID, or a mount of the host's. Without
    /// it what comes in late only sends by redirection
    #[arg(
        long,
        value_name = "DIR",
        env = "SOCKWAY_HOST_PROC",
        default_value = "/proc"
    )]
    pub host_proc: PathBuf,

    /// Switch a pod off where redirected bytes stand still for so long although their reader waits for
    /// bytes (seconds, 0: never); off until `sockway on --pod`
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SOCKWAY_TRIPWIRE",
        default_value_t = 60,
        value_parser = clap::value_parser!(u32).range(..=86_400)
    )]
    pub tripwire: u32,
}

impl LateArgs {
    fn open(&self, pins: &Pins) -> Result<Late, Error> {
        let mut late = Late::open(pins, self.host_proc.clone())?;
        if !self.late {
            late = late.without_joins();
        }
        if self.tripwire > 0 {
            late = late.with_tripwire(Duration::from_secs(self.tripwire.into()));
        }
        Ok(late)
    }
}

/// Starts the thread, which lives as long as the process.
///
/// # Errors
///
/// Where it cannot be started.
pub fn start(pins: Pins, sources: SourceArgs, args: LateArgs, shared: Arc<Shared>) -> Result<()> {
    thread::Builder::new()
        .name("late".to_owned())
        .spawn(move || {
            let mut said = String::new();
            loop {
                let said_now = match keep(&pins, &sources, &args, &shared) {
                    Ok(()) => String::new(),
                    Err(e) => e.to_string(),
                };
                if said_now != said && !said_now.is_empty() {
                    log::warn!("{said_now}");
                }
                said = said_now;
                thread::sleep(RETRY);
            }
        })
        .context("cannot start a thread")?;
    Ok(())
}

/// Which program is pinned: a new one comes with every install.
fn generation(pins: &Pins) -> Option<u64> {
    fs::metadata(pins.program(program::LATE))
        .ok()
        .map(|m| m.ino())
}

/// Goes on until other programs are put in place.
fn keep(pins: &Pins, sources: &SourceArgs, args: &LateArgs, shared: &Shared) -> Result<(), Error> {
    let Some(opened) = generation(pins) else {
        return Ok(());
    };
    let mut late = args.open(pins)?;
    let mut events = Events::open(pins)?;
    let blind = late.blind();
    if let Some(why) = &blind {
        log::warn!("{why}");
    }
    shared.lock().late_blind = blind;
    let namespaces =
        |wanted: &HashSet<u64>| reconcile::namespaces(sources, &args.host_proc, wanted);
    let [mut pass_at, mut adopt_at, mut forget_at] = [Instant::now(); 3];
    let [mut pass_pace, mut join_pace] = [Pace::new(); 2];
    // Who was told of and has to wait for the pace.
    let mut joins = Vec::new();
    // Whether a pass was asked for since the last one.
    let mut asked = false;
    // Pods that were there before have connections that were, and may be registered only after
    // the first look for them.
    let mut reconciled = shared.lock().reconciled;
    loop {
        let now = Instant::now();
        let next = if joins.is_empty() {
            pass_at
        } else {
            pass_at.min(join_pace.at())
        };
        let rest = next.saturating_duration_since(now);
        events.wait(late.next_turn().unwrap_or(rest).min(LOOK_UP))?;
        let mut told = events.read();
        joins.append(&mut told.joins);
        if told.asks
            && let Err(e) = Hook::asked(pins)
        {
            log::debug!("cannot see where receiving calls end: {e}");
        }
        let began = Instant::now();
        if began >= join_pace.at() {
            told.joins = std::mem::take(&mut joins);
        }
        note(shared, &late.turn(&told, &namespaces)?);
        if !told.joins.is_empty() {
            join_pace.done(began.elapsed());
        }
        let began = Instant::now();
        asked |= told.pass;
        if asked {
            pass_at = pass_at.min(pass_pace.at());
        }
        if began < pass_at {
            continue;
        }
        if generation(pins) != Some(opened) {
            return Ok(());
        }
        let now_reconciled = shared.lock().reconciled;
        let news = now_reconciled != reconciled;
        reconciled = now_reconciled;
        if args.late && args.existing_connections && (news || began >= adopt_at) {
            let adopted = late.adopt(&namespaces)?;
            if adopted.found > 0 {
                log::info!(
                    "{} connections that were open before are watched from now on; of {} the other end was not found",
                    adopted.found,
                    adopted.unpaired
                );
            }
            // A look at each of the node's sockets: no more than a thousandth of one CPU.
            adopt_at = Instant::now() + ADOPT_EVERY.max(began.elapsed() * 1000);
        }
        if began >= forget_at {
            late.forget(&namespaces)?;
            forget_at = Instant::now() + FORGET_EVERY;
        }
        asked = false;
        if late.is_calm()? {
            pass_at = next_pass(began, ADOPT_EVERY);
            continue;
        }
        let looked = Instant::now();
        note(shared, &late.pass(&namespaces)?);
        tripwire::trip(pins, &late.stood(), shared);
        pass_at = if late.has_more() {
            Instant::now()
        } else {
            next_pass(Instant::now(), looked.elapsed())
        };
        pass_pace.done(looked.elapsed());
    }
}

fn note(shared: &Shared, done: &Done) {
    if *done == Done::default() {
        return;
    }
    log::debug!("late: {done:?}");
    let mut known = shared.lock();
    known.joined_late += done.joined as u64;
    known.opened_late += done.opened as u64;
    known.left_late += done.left as u64;
}
