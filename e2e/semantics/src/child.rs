//! One run of one case, in a process of its own.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use sockway_common::addr::IpKey;
use sockway_common::pod::PodStats;
use sockway_common::program::{
    FIT_READS, ProgramKey, ProgramRow, asks_no_length, is_proven, is_unfit,
};
use sockway_datapath::{Pins, stats};

use crate::case::Warmup;
use crate::cases;
use crate::facts::{Fact, Facts};
use crate::half;
use crate::pace;
use crate::place::{self, Pod};
use crate::scene::{Scene, Unavailable, echo};
use crate::variant::{Family, Hop, Kind, Mode};

/// Messages of a warm-up connection come in spells. The kernel skips a tracepoint's program while
/// an interrupted run of it waits for its turn on the same processor, so one may not be enough.
const SPELL: u64 = FIT_READS;
/// Spells at least.
const SPELLS: u64 = 4;
/// Spells where it does not matter that a program reads to the end, which is not counted then.
const ENOUGH_SPELLS: u64 = 12;
/// Spells at most, for a program of which not enough was seen to know it.
const MOST_SPELLS: u64 = 40;
/// Between two spells.
const PAUSE: Duration = Duration::from_millis(5);

/// What to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Name of the case.
    pub(crate) case: String,
    /// The end under test.
    pub(crate) kind: Kind,
    /// Where it is.
    pub(crate) hop: Hop,
    /// Its addresses.
    pub(crate) family: Family,
    /// Plain or accelerated.
    pub(crate) mode: Mode,
    /// Number of the pod.
    pub(crate) pod: u16,
    /// How many times slower than usual everything may be.
    pub(crate) pace: u32,
    /// How long idle connections are idle, seconds.
    pub(crate) idle: u64,
    /// Root of the pins.
    pub(crate) pins: PathBuf,
    /// The cgroup that the programs are attached to.
    pub(crate) cgroup: PathBuf,
}

/// What a run says, line by line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Line {
    /// The warm-up is over; what was counted until now.
    Begin(Counted),
    /// So many connections were brought in before the case used them.
    CameIn(u64),
    /// Something was seen.
    Fact(Fact),
    /// The case is over, with an error or not.
    End(Option<String>),
    /// The kernel lacks what the case needs.
    Unavailable(String),
}

/// What was counted for a run's pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counted {
    /// Connections that were joined.
    pub(crate) paired: u64,
    /// Messages that were redirected.
    pub(crate) redirected: u64,
    /// Messages of joined connections that went by TCP.
    pub(crate) tcp: u64,
}

impl Counted {
    /// The figures of a pod.
    pub(crate) fn read(pins: &Pins, pod: Pod) -> Result<Self> {
        let own = pod.ips();
        let rows = stats::pods(pins).context("read the pods' figures")?;
        let mut sum = PodStats::default();
        for (_, row) in rows.iter().filter(|(ip, _)| own.contains(ip)) {
            sum.add(row);
        }
        Ok(Self {
            paired: sum.paired,
            redirected: sum.redirected_messages,
            tcp: sum.tcp_messages,
        })
    }

    /// What was counted since.
    pub(crate) const fn since(self, before: Self) -> Self {
        Self {
            paired: self.paired - before.paired,
            redirected: self.redirected - before.redirected,
            tcp: self.tcp - before.tcp,
        }
    }
}

/// Runs a job and writes what is seen to the standard output.
pub(crate) fn run(job: &str) -> Result<()> {
    // A parent that dies takes its runs along.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    let job: Job = serde_json::from_str(job).context("read the job")?;
    let Some(case) = cases::find(&job.case) else {
        bail!("no case is called {:?}", job.case)
    };
    pace::set(job.pace);
    pace::set_idle(job.idle);
    let pod = Pod::of(job.pod);
    let pins = Pins::new(job.pins);
    if job.mode != Mode::Plain {
        let procs = job.cgroup.join("cgroup.procs");
        std::fs::write(&procs, std::process::id().to_string())
            .with_context(|| format!("write {}", procs.display()))?;
    }
    place::enter(pod)?;
    let mut scene = Scene::new(job.kind, job.hop, job.family, pod, Facts::new(|_| ()));
    match job.mode {
        Mode::Plain | Mode::Cold => {}
        Mode::Turning => nearly(&scene)?,
        Mode::Half => half::show(&scene)?,
        Mode::Late => scene.bring_in_late(pins.clone()),
        Mode::Auto | Mode::Sudden | Mode::All => {
            let warmup = match job.mode {
                Mode::Sudden => Warmup::Echo,
                _ => case.warmup,
            };
            let all = job.mode == Mode::All;
            let known = |enough| all || is_known(&pins, pod, enough).unwrap_or(false);
            warm_up(&mut scene, warmup, case.run, known)?;
        }
    }
    say(&Line::Begin(Counted::read(&pins, pod)?))?;
    let lost = Rc::new(Cell::new(false));
    let (not_said, seen) = (Rc::clone(&lost), |fact: &Fact| {
        say(&Line::Fact(fact.clone()))
    });
    scene.swap_facts(Facts::new(move |fact| {
        not_said.set(seen(fact).is_err() || not_said.get());
    }));
    let end = match (case.run)(&mut scene) {
        Ok(()) => Line::End(None),
        Err(error) => match error.downcast_ref::<Unavailable>() {
            Some(why) => Line::Unavailable(why.to_string()),
            None => Line::End(Some(format!("{error:#}"))),
        },
    };
    say(&Line::CameIn(scene.came_in()))?;
    if lost.get() {
        bail!("could not write all that was seen");
    }
    say(&end)
}

/// Shows what the programs at both ends are like: that they read to the end first, for nobody
/// waits for that of a program that often did not.
fn warm_up(
    scene: &mut Scene,
    warmup: Warmup,
    case: fn(&mut Scene) -> Result<()>,
    known: impl Fn(bool) -> bool,
) -> Result<()> {
    let rounds = match warmup {
        Warmup::Echo => return show(scene, &known),
        Warmup::First(rounds) => rounds,
        Warmup::Same(rounds) => {
            show(scene, &known)?;
            rounds
        }
    };
    for _ in 0..rounds {
        // What it sees is of no interest yet; how it goes about it is what counts.
        if case(scene).is_err() {
            scene.close_listener();
        }
    }
    // The listening socket may be another by now.
    show(scene, &known)
}

/// Echoes until it is known that both ends read to the end.
fn show(scene: &Scene, known: impl Fn(bool) -> bool) -> Result<()> {
    let (app, envoy) = scene.connect().context("warm up")?;
    for message in 0..MOST_SPELLS * SPELL {
        if message % SPELL == 0 {
            let spells = message / SPELL;
            if spells >= SPELLS && known(spells >= ENOUGH_SPELLS) {
                break;
            }
            std::thread::sleep(pace::allow(PAUSE));
        }
        echo(&envoy, &app, message).context("warm up")?;
    }
    Ok(())
}

/// Shows nearly enough of both programs.
fn nearly(scene: &Scene) -> Result<()> {
    let (app, envoy) = scene.connect().context("warm up")?;
    for message in 2..FIT_READS {
        echo(&envoy, &app, message).context("warm up")?;
    }
    Ok(())
}

/// Whether it is known by now how both ends of a pod's connections read; `enough`: whether they
/// read to the end is not waited for.
fn is_known(pins: &Pins, pod: Pod, enough: bool) -> Result<bool> {
    let rows = stats::programs(pins).context("read what is known of programs")?;
    let known: HashMap<ProgramKey, ProgramRow> = rows.into_iter().collect();
    let own: Vec<IpKey> = pod.ips().to_vec();
    let ends = stats::ends(pins).context("read the ends")?;
    let mut ends = ends
        .iter()
        .filter(|(_, row)| own.contains(&row.pod))
        .peekable();
    Ok(ends.peek().is_some()
        && ends.all(|(_, row)| {
            let row = known.get(&row.program).copied().unwrap_or_default();
            is_unfit(&row) || (is_proven(&row) && (enough || asks_no_length(&row)))
        }))
}

fn say(line: &Line) -> Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&text)?;
    out.flush().context("write to the standard output")
}
