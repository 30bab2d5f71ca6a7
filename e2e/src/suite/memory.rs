//! Kernel memory: readers that stop, readers that are slow, connections that idle.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sockway_common::pair::hop;
use sockway_testkit::mesh::kernel_memory::KernelMemory;
use sockway_testkit::mesh::pod::{Pod, at};
use sockway_testkit::mesh::sidecar::{INBOUND, Protocol, USER, vip};
use sockway_testkit::place::Place;
use sockway_testkit::process::Process;
use sockway_testkit::stall::report::Report;

use super::{Case, Stage};
use crate::world::World;

/// Connections whose readers stop.
const STALLED: u32 = 1000;
/// Times that idle connections are measured, plain and accelerated in turn. The
/// slab caches are the whole machine's: the median is what others' work does not
/// decide. Stopped readers take so much that once is enough.
const ROUNDS: usize = 3;
/// What an accelerated sender that is stopped may hold beyond a plain one, bytes: its send buffer is as
/// large from the start as a stream makes it that flows, so that as much finds room as Envoy
/// sends at once (1 MiB).
const MORE: i64 = 1280 << 10;
/// Most memory that a byte that was taken may take, beside plain ones.
const BAR: f64 = 1.5;
/// Connections that are open and carry nothing.
const IDLE: u32 = 10_000;
/// Most that one of them may take beyond what a plain one does, bytes: two of the
/// kernel's psocks (1 KiB each from kmalloc-1k), two rows of the sockhash and two
/// socket storages.
const IDLE_BAR: i64 = 5 * 1024;
/// What the slow reader gets, bytes on each connection.
const SLOW_BYTES: u64 = 15_000_000;
/// And how fast, bytes in a second.
const SLOW_RATE: &str = "1000000";
/// How long it may take.
const SLOW_LIMIT: Duration = Duration::from_mins(1);
const LIMIT: Duration = Duration::from_secs(30);
/// How long it may take until nothing more is taken of a thousand senders.
const FILL: Duration = Duration::from_mins(2);

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    cases! {
        "memory/readers_that_stop_large_sends": |stage| stopped(stage, "65536");
        "memory/readers_that_stop_sends_of_1_kib": |stage| stopped(stage, "1024");
        "memory/readers_that_stop_sends_of_256_bytes": |stage| stopped(stage, "256");
        "memory/connections_that_idle": idle;
        "memory/slow_reader_gets_every_byte": slow;
    }
}

/// Two pods without sidecars; this program, as Envoy's user, on Envoy's port.
pub(super) struct Ends<'a> {
    world: &'a World,
    program: PathBuf,
}

impl<'a> Ends<'a> {
    pub(super) fn new(world: &'a World) -> Result<Self> {
        // A copy where Envoy's user can get to it.
        let program = world.node.scratch.path("stall");
        if !program.exists() {
            fs::copy(&world.node.tools.this, &program).context("copy this program")?;
        }
        Ok(Self { world, program })
    }

    pub(super) fn pods(&self) -> [&'a Pod; 2] {
        self.world.plain_pods()
    }

    fn spawn(&self, pod: &Pod, args: &[&str]) -> Result<Process> {
        let place = Place {
            user: Some(USER),
            ..pod.place().clone()
        };
        let name = format!("{}-{}", pod.name, args[0]);
        let args = ["-o", "json", "stall"].iter().chain(args);
        let args = args.map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
        let logs = self.world.node.scratch.path("logs");
        Process::start(&name, &logs, &place, &self.program, &args)
    }

    /// The same, once it says that it is ready.
    pub(super) fn start(&self, pod: &Pod, args: &[&str]) -> Result<Process> {
        let mut process = self.spawn(pod, args)?;
        process.wait_ready_within(FILL)?;
        Ok(process)
    }

    /// What the kernel takes for these connections while they stand still, and
    /// the bytes that it took from the senders.
    fn measure(&self, connections: u32, size: &str) -> Result<(KernelMemory, Report)> {
        let [client, server] = self.pods();
        let before = KernelMemory::read(&self.pods())?;
        let listen = format!("[::]:{INBOUND}");
        let reader = self.start(server, &["server", "--prove", "--listen", &listen])?;
        let (to, connections) = (at(server.ips()[0], INBOUND), connections.to_string());
        let args = [
            "client",
            "--to",
            &to,
            "--prove",
            "--connections",
            &connections,
            "--size",
            size,
        ];
        let sender = self.start(client, &args)?;
        let taken = KernelMemory::read(&self.pods())? - before;
        let report = report(&sender.end(LIMIT)?)?;
        reader.end(LIMIT)?;
        Ok((taken, report))
    }

    /// The same a few times, plain and accelerated in turn: medians of each.
    fn compare(&self, connections: u32, size: &str, rounds: usize) -> Result<[Taken; 2]> {
        let mut taken = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            self.world.plain()?;
            taken[0].push(self.measure(connections, size)?);
            self.world.accelerated()?;
            let before = self.world.figures()?;
            taken[1].push(self.measure(connections, size)?);
            self.world.quiet()?;
            let hops = self.world.figures()?.since(&before);
            let joined = hops.get(hop::INBOUND).map_or(0, |hop| hop.joined);
            // And the one that showed how they read.
            ensure!(
                joined == u64::from(connections) + 1,
                "{joined} of {connections} connections were found: {hops}"
            );
            let redirected = hops.messages(hop::INBOUND);
            // A first send may come before the other end is found, and goes by TCP; so do the rest then, for
            // nobody reads.
            ensure!(
                size == "0" || redirected * 10 >= u64::from(connections) * 9,
                "{redirected} messages were redirected on {joined} connections: {hops}"
            );
        }
        Ok(taken.map(|rounds| Taken::median(&rounds)))
    }
}

/// Medians of some rounds, bytes.
#[derive(Clone, Copy, Debug)]
struct Taken {
    memory: KernelMemory,
    accepted: u64,
}

impl Taken {
    fn median(rounds: &[(KernelMemory, Report)]) -> Self {
        fn middle<T: Ord + Copy>(mut values: Vec<T>) -> T {
            values.sort_unstable();
            values[values.len() / 2]
        }
        let of = |value: fn(&KernelMemory) -> i64| {
            middle(rounds.iter().map(|(memory, _)| value(memory)).collect())
        };
        Self {
            memory: KernelMemory {
                sockets: of(|memory| memory.sockets),
                slab: of(|memory| memory.slab),
            },
            accepted: middle(rounds.iter().map(|(_, report)| report.bytes).collect()),
        }
    }
}

fn report(text: &str) -> Result<Report> {
    let line = text.lines().find(|line| line.starts_with('{'));
    let line = line.with_context(|| format!("no report in {text:?}"))?;
    serde_json::from_str(line).with_context(|| format!("parse {line:?}"))
}

/// A thousand senders send until nothing more is taken.
fn stopped(stage: &Stage, size: &str) -> Result<()> {
    let ends = Ends::new(stage.world()?)?;
    let [plain, accelerated] = ends.compare(STALLED, size, 1)?;
    let per = |bytes: i64| bytes / i64::from(STALLED) / 1024;
    for (name, taken) in [("plain", &plain), ("accelerated", &accelerated)] {
        println!(
            "        {name:<12} KiB per connection: sockets {}, slab {}; {} of payload taken",
            per(taken.memory.sockets),
            per(taken.memory.slab),
            taken.accepted / u64::from(STALLED) / 1024
        );
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "bytes of one machine are far below 2^52"
    )]
    let per_byte = |taken: &Taken| taken.memory.total() as f64 / taken.accepted as f64;
    let ratio = per_byte(&accelerated) / per_byte(&plain);
    println!("        {ratio:.2} of what a byte takes on plain TCP");
    let more = (accelerated.memory.total() - plain.memory.total()) / i64::from(STALLED);
    ensure!(
        more <= MORE,
        "{more} bytes of a connection beyond plain TCP's: {accelerated:?} against {plain:?}"
    );
    ensure!(
        plain.memory.sockets > i64::from(STALLED) * 16 * 1024,
        "plain senders were not stopped by a full queue: {plain:?}"
    );
    ensure!(
        ratio <= BAR,
        "{ratio:.2} times what a byte takes on plain TCP: {accelerated:?} against {plain:?}"
    );
    Ok(())
}

fn idle(stage: &Stage) -> Result<()> {
    let ends = Ends::new(stage.world()?)?;
    let [plain, accelerated] = ends.compare(IDLE, "0", ROUNDS)?;
    let per = |taken: &Taken| taken.memory.total() / i64::from(IDLE);
    let beyond = per(&accelerated) - per(&plain);
    println!(
        "        {} bytes of kernel memory per idle connection, {} accelerated: {beyond} more",
        per(&plain),
        per(&accelerated)
    );
    ensure!(
        beyond <= IDLE_BAR,
        "{beyond} bytes of an idle accelerated connection beyond TCP's own, more than {IDLE_BAR}"
    );
    Ok(())
}

/// A reader of 1 MB/s on one hop, and one behind both Envoys, at once.
fn slow(stage: &Stage) -> Result<()> {
    let world = stage.world()?;
    let ends = Ends::new(world)?;
    let [client, server] = ends.pods();
    let before = world.figures()?;
    let listen = format!("[::]:{INBOUND}");
    let direct = ends.start(
        server,
        &[
            "server", "--prove", "--listen", &listen, "--rate", SLOW_RATE,
        ],
    )?;
    let port = world.port(Protocol::Tcp)?;
    let listen = format!("[::]:{port}");
    let args = ["-o", "json", "stall", "server", "--listen", &listen];
    let args = [&args[..], &["--prove", "--rate", SLOW_RATE]].concat();
    let mut behind = world.server.spawn(&world.node, "slow", &args)?;
    behind.wait_ready()?;

    let to = at(vip(0, 10), port);
    let total = SLOW_BYTES.to_string();
    let args = [
        "-o", "json", "stall", "client", "--prove", "--to", &to, "--total", &total,
    ];
    let through = world.client.spawn(&world.node, "through", &args)?;
    let args = [
        "client",
        "--prove",
        "--to",
        &at(server.ips()[0], INBOUND),
        "--total",
        &total,
    ];
    let straight = ends.spawn(client, &args)?;
    for sender in [through, straight] {
        let report = report(&sender.finish(SLOW_LIMIT)?)?;
        ensure!(report.bytes == SLOW_BYTES, "{report}");
    }
    for reader in [direct, behind] {
        let text = reader.end(LIMIT)?;
        let ended = text
            .lines()
            .filter(|line| line.starts_with("ended "))
            .count();
        let whole = format!("ended {SLOW_BYTES}");
        ensure!(
            !text.contains("wrong") && ended == 1 && text.contains(&whole),
            "the slow reader: {text}"
        );
    }
    world.quiet()?;
    let hops = world.figures()?.since(&before);
    // The reader behind both Envoys accepts late, so its sender begins by TCP, and is always ahead from then on.
    let redirected = hops.get(hop::INBOUND).map_or(0, |hop| hop.bytes);
    println!("        {redirected} bytes were redirected on one hop and between the Envoys");
    ensure!(redirected > 0, "none was redirected: {hops}");
    Ok(())
}
