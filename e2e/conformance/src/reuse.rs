//! `sockway-conformance reuse`: few addresses, many pods, DELs that come late.
//!
//! An address goes to the next pod before the DEL of the last one has come. In
//! parallel, workers ADD pods on random addresses and DEL pods whose address
//! has long been another's. In the end exactly the last pod of each address is
//! registered, and after its DEL nothing.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;

use crate::invoke::{Invocation, result};
use crate::node::Node;
use crate::pod::Pod;
use crate::report::Report;
use crate::tools::Tools;
use crate::world::World;

/// Addresses of each family.
const ADDRESSES: usize = 250;
const WORKERS: usize = 8;
/// Pods whose DEL is outstanding before one is called.
const LATE: usize = 40;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// How many pods come and go
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(500..))]
    cycles: u32,
}

/// A pod that is registered, or was.
struct Attached {
    invocation: Invocation,
}

struct State<'a> {
    node: &'a Node,
    pod: &'a Pod,
    /// The pod that has each address: whose ADD came last.
    current: Vec<Mutex<Option<Attached>>>,
    /// Pods that lost their address and are still to be deleted.
    late: Mutex<Vec<Attached>>,
    next: AtomicUsize,
    took: Mutex<BTreeMap<&'static str, Vec<Duration>>>,
}

/// Runs the cycles.
pub(crate) fn run(
    world: &World,
    tools: &Tools,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let node = Node::new(world, tools)?;
    node.install(
        "10-terway.conflist",
        &json!({
            "cniVersion": "0.4.0", "name": "terway-chainer", "plugins": [{ "type": "terway" }],
        }),
    )?;
    let cycles = options.cycles as usize;
    let pod = Pod::new()?;
    let state = State {
        node: &node,
        pod: &pod,
        current: (0..ADDRESSES).map(|_| Mutex::new(None)).collect(),
        late: Mutex::default(),
        next: AtomicUsize::new(0),
        took: Mutex::default(),
    };
    let started = Instant::now();
    let name = format!("reuse/{cycles}-pods-on-{ADDRESSES}-addresses");
    report.case(&name, || {
        in_parallel(|| worker(&state, cycles))?;
        state.delete_late(0)?;
        expect_last(&state).context("after every late DEL")
    });
    report.case("reuse/nothing-left", || {
        for place in &state.current {
            if let Some(attached) = lock(place).take() {
                lock(&state.late).push(attached);
            }
        }
        in_parallel(|| state.delete_late(0))?;
        node.expect_nothing()
    });
    println!(
        "{cycles} pods in {:.1} s with {WORKERS} at a time",
        started.elapsed().as_secs_f64()
    );
    for (verb, took) in lock(&state.took).iter_mut() {
        took.sort_unstable();
        let at = |percent: usize| took[(took.len() - 1) * percent / 100].as_secs_f64() * 1e3;
        println!(
            "{verb}: {} calls, p50 {:.2} ms, p99 {:.2} ms",
            took.len(),
            at(50),
            at(99)
        );
    }
    Ok(())
}

fn in_parallel(work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let threads: Vec<_> = (0..WORKERS).map(|_| scope.spawn(&work)).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow!("panic"))?)
    })
}

fn worker(state: &State<'_>, cycles: usize) -> Result<()> {
    loop {
        let number = state.next.fetch_add(1, Ordering::Relaxed);
        if number >= cycles {
            return Ok(());
        }
        // Every address in turn, so that all are in use; then wherever chance leads.
        let place = if number < ADDRESSES {
            number
        } else {
            scatter(number)
        };
        state.add(number, place)?;
        state.delete_late(LATE)?;
    }
}

impl State<'_> {
    fn add(&self, number: usize, place: usize) -> Result<()> {
        // One ADD at a time for an address, or nobody could say whose it is in the end.
        let mut current = lock(&self.current[place]);
        let mut conf = self.node.section(&self.node.path("reuse.log"));
        conf["name"] = json!("terway-chainer");
        conf["cniVersion"] = json!("1.0.0");
        conf["prevResult"] = result(&self.pod.netns, &addresses(place));
        // What is not registered is to be an error, not a warning.
        conf["strict"] = json!(true);
        let container = format!("container-{number}");
        let program = &self.node.tools.plugin;
        let invocation = Invocation::new(program, &container, &self.pod.netns, &conf)?;
        self.call(&invocation, "ADD")?;
        if let Some(before) = current.replace(Attached { invocation }) {
            lock(&self.late).push(before);
        }
        Ok(())
    }

    /// Deletes pods until at most so many are outstanding; the youngest or the oldest, in turn.
    fn delete_late(&self, most: usize) -> Result<()> {
        loop {
            let attached = {
                let mut late = lock(&self.late);
                if late.len() <= most {
                    return Ok(());
                }
                let place = if late.len().is_multiple_of(2) {
                    0
                } else {
                    late.len() - 1
                };
                late.swap_remove(place)
            };
            self.call(&attached.invocation, "DEL")?;
        }
    }

    fn call(&self, invocation: &Invocation, verb: &'static str) -> Result<()> {
        let took = invocation.run(verb)?;
        lock(&self.took).entry(verb).or_default().push(took);
        Ok(())
    }
}

fn expect_last(state: &State<'_>) -> Result<()> {
    let rows = state.node.rows()?;
    if rows.len() != 2 * ADDRESSES {
        bail!(
            "{} addresses are registered, not {}",
            rows.len(),
            2 * ADDRESSES
        );
    }
    let found: BTreeMap<IpAddr, String> = rows
        .into_iter()
        .map(|row| (row.ip, row.container))
        .collect();
    for (place, current) in state.current.iter().enumerate() {
        let current = lock(current);
        let last = current
            .as_ref()
            .map(|attached| attached.invocation.container.as_str());
        for ip in addresses(place) {
            let has = found.get(&ip).map(String::as_str);
            if has != last {
                bail!("{ip} is registered for {has:?}; its last pod is {last:?}");
            }
        }
    }
    Ok(())
}

fn addresses(place: usize) -> [IpAddr; 2] {
    let number = u8::try_from(place).unwrap_or(u8::MAX);
    let v6 = Ipv6Addr::new(0xfd10, 0, 0, 0, 0, 0, 0, u16::from(number));
    [Ipv4Addr::new(10, 10, 0, number).into(), v6.into()]
}

/// An address for a number, as if by chance, and the same in every run.
fn scatter(number: usize) -> usize {
    number.wrapping_mul(2_654_435_761) / 65_536 % ADDRESSES
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A thread that panicked has failed the case already.
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
