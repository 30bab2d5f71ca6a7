//! Many calls at once, as a node that starts or drains makes them.

use std::sync::Mutex;
use std::thread::scope;

use serde_json::{Value, json};
use sockway_common::calls as counters;
use sockway_datapath::{Pins, Registry, calls};
use sockway_testkit::bpffs::Bpffs;
use sockway_testkit::needs;
use sockway_testkit::ring::privileged;

use crate::support::call::{Call, conf, result, set};
use crate::support::pod::{PodNetns, pin_maps, rows};

const THREADS: usize = 8;
/// Pods that come at once.
const PODS: usize = 200;
/// Calls of ADD and of DEL while addresses go round, and how many addresses do.
const ROUNDS: usize = 2_000;
const ADDRESSES: usize = 25;

/// Every call is counted, once, with what it took.
fn assert_counted(pins: &Pins, expected: &[(&str, usize)]) {
    let counted = calls::read(pins).unwrap();
    for (name, times) in expected {
        let verb = counters::verb(name).unwrap();
        let done = counted[counters::outcome_slot(verb, counters::DONE)];
        assert_eq!(done, *times as u64, "{name}");
        let durations: u64 = counters::buckets(&counted, verb).iter().sum();
        assert_eq!(durations, done, "{name}");
        let average_us = counted[counters::sum_slot(verb)] / done;
        assert!(
            (1..1_000_000).contains(&average_us),
            "{name}: {average_us} us"
        );
    }
}

#[test]
fn two_hundred_pods_come_and_go_at_once() {
    needs!(privileged("two_hundred_pods_come_and_go_at_once"));
    let bpffs = Bpffs::mount();
    let pins = pin_maps(bpffs.path());
    let netns = PodNetns::with(&[]);
    let call = |verb: &str, n: usize| {
        let base = set(
            conf("1.0.0", pins.root().to_str().unwrap()),
            "strict",
            json!(true),
        );
        let conf = set(
            base,
            "prevResult",
            result("1.0.0", &[&format!("10.3.{}.7/16", n % 250)]),
        );
        let call = Call::new(verb, &conf).with("CNI_CONTAINERID", &format!("c{n}"));
        let answer = call.with("CNI_NETNS", &netns.path()).run();
        assert_eq!(answer.status, 0, "{answer:?}");
    };
    scope(|threads| {
        for t in 0..THREADS {
            threads.spawn(move || (t..PODS).step_by(THREADS).for_each(|n| call("ADD", n)));
        }
    });
    assert_eq!(rows(&pins).len(), PODS);
    // Half goes while as many others come, to addresses whose DEL may be yet to come.
    scope(|threads| {
        for t in 0..THREADS {
            threads.spawn(move || {
                for n in (t..PODS).step_by(THREADS).filter(|n| n % 2 == 0) {
                    call("ADD", n + 10_050);
                    call("DEL", n);
                }
            });
        }
    });
    let registry = Registry::open(&pins).unwrap();
    assert_eq!(registry.sandboxes().unwrap().len(), PODS);
    // 100 odd addresses from 1, 100 even ones from 50.
    assert_eq!(registry.pods().unwrap().len(), PODS);
    assert_counted(&pins, &[("ADD", PODS + PODS / 2), ("DEL", PODS / 2)]);
}

#[test]
fn addresses_go_round_and_end_with_the_last_holder() {
    needs!(privileged(
        "addresses_go_round_and_end_with_the_last_holder"
    ));
    let bpffs = Bpffs::mount();
    let pins = pin_maps(bpffs.path());
    let netns = PodNetns::with(&[]);
    // Each address has a lock, as IPAM gives it to one pod at a time; the DEL of
    // the pod before comes late, outside of it.
    let holders: Vec<_> = (0..ADDRESSES).map(|_| Mutex::new(None::<String>)).collect();
    let conf_of = |n: usize| -> Value {
        let base = conf("1.0.0", pins.root().to_str().unwrap());
        set(
            base,
            "prevResult",
            result("1.0.0", &[&format!("10.4.0.{}/24", n % ADDRESSES)]),
        )
    };
    let call = |verb: &str, id: &str, n: usize| {
        let call = Call::new(verb, &conf_of(n)).with("CNI_CONTAINERID", id);
        let answer = call.with("CNI_NETNS", &netns.path()).run();
        assert_eq!(answer.status, 0, "{answer:?}");
        answer.logs("INFO", verb);
    };
    scope(|threads| {
        for t in 0..THREADS {
            let (holders, call) = (&holders, &call);
            threads.spawn(move || {
                for round in (t..ROUNDS).step_by(THREADS) {
                    let id = format!("r{round}");
                    let before = {
                        let mut holder = holders[round % ADDRESSES].lock().unwrap();
                        call("ADD", &id, round);
                        holder.replace(id)
                    };
                    if let Some(before) = before {
                        call("DEL", &before, round);
                    }
                }
            });
        }
    });
    let mut expected: Vec<_> = holders
        .iter()
        .enumerate()
        .map(|(n, holder)| {
            let holder = holder.lock().unwrap();
            format!(
                "10.4.0.{n} {} 15001/15006 auto",
                holder.as_deref().unwrap_or("nobody")
            )
        })
        .collect();
    let mut found = rows(&pins);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    let registry = Registry::open(&pins).unwrap();
    assert_eq!(registry.sandboxes().unwrap().len(), ADDRESSES);
}
