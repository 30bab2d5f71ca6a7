//! Everybody else on a node, at random: after each quiet second what must hold holds.
//!
//! The seed is printed; `SOCKWAY_SEED` runs one again. `SOCKWAY_LONG=1`: 20 000 steps over ten seeds.

use std::collections::BTreeMap;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sockway_common::pod::field_text;
use sockway_datapath::Registry;
use sockway_installer::cni::CniArgs;
use sockway_installer::cni::confdir;

use super::keeper::Keeper;
use super::killed::run_and_kill_unless;
use super::node::{Node, repeat};
use super::pod::Pod;

/// Steps between two looks at what must hold.
const STRETCH: usize = 40;
/// Longer than a keeper takes to start on a busy machine, with its proof, and its slowest repair.
const CALM: Duration = Duration::from_mins(1);
const MOST_PODS: usize = 6;
/// System calls that change the node, from a keeper's start to its rest, and some more.
const MOST_CALLS: usize = 600;

/// A generator whose numbers the seed decides (xorshift64*).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(value).unwrap() % sides
    }
}

fn nothing() -> &'static str {
    sleep(Duration::from_millis(100));
    "nothing"
}

/// The node, and what the others made of it.
#[expect(
    clippy::struct_excessive_bools,
    reason = "who else is on the node: each of them by itself"
)]
struct World {
    node: Node,
    keeper: Option<Keeper>,
    dice: Dice,
    /// What terway wrote last: a number that must not be lost.
    mtu: usize,
    istio: bool,
    multus: bool,
    podman: bool,
    /// The list is set aside under another name.
    aside: bool,
    pods: BTreeMap<String, Pod>,
    made: usize,
    did: Vec<String>,
}

impl World {
    fn list(&self) -> Value {
        let mut plugins = vec![json!({"type": "terway", "mtu": self.mtu})];
        if self.istio {
            plugins.push(json!({"type": "istio-cni"}));
        }
        json!({"cniVersion": "0.4.0", "name": "terway-chainer", "plugins": plugins})
    }

    fn step(&mut self) {
        let what = self.dice.roll(100);
        let name = match what {
            0..20 => self.terway(),
            20..30 => self.istio_appends(),
            30..38 => self.multus_copies(),
            38..42 => self.multus_goes(),
            42..46 => self.podman_comes_and_goes(),
            46..50 => self.set_aside_and_back(),
            50..54 => self.replace_plugin_directory(),
            54..74 => self.pod_comes(),
            74..90 => self.pod_goes(),
            90..93 => self.collect_garbage(),
            93..95 => self.kill_the_keeper(),
            95 => self.kill_the_keeper_at_a_call(),
            96 => self.upgrade(),
            97 => self.uninstall_and_again(),
            98 => self.touch_the_binary(),
            _ => nothing(),
        };
        self.did.push(name.to_owned());
    }

    /// Truncates and writes anew, as terwayd at each start.
    fn terway(&mut self) -> &'static str {
        self.mtu += 1;
        self.istio = false;
        self.bring_back();
        fs::write(self.node.conflist(), "").unwrap();
        fs::write(self.node.conflist(), self.list().to_string()).unwrap();
        "terway writes"
    }

    /// Reads, appends itself, renames: what it read may be older than what is there.
    fn istio_appends(&mut self) -> &'static str {
        let text = fs::read_to_string(self.node.conflist()).unwrap_or_default();
        let Ok(mut list) = serde_json::from_str::<Value>(&text) else {
            return "istio finds no list";
        };
        let plugins = list["plugins"].as_array_mut().unwrap();
        if plugins.iter().any(|p| p["type"] == "istio-cni") {
            return "istio is there";
        }
        plugins.push(json!({"type": "istio-cni"}));
        fs::write(self.node.path("net.d/.istio"), list.to_string()).unwrap();
        fs::rename(self.node.path("net.d/.istio"), self.node.conflist()).unwrap();
        self.istio = true;
        "istio appends"
    }

    /// A copy of the list inside multus' own file.
    fn multus_copies(&mut self) -> &'static str {
        let text = fs::read_to_string(self.node.conflist()).unwrap_or_default();
        let Ok(list) = serde_json::from_str::<Value>(&text) else {
            return "multus finds no list";
        };
        let file = json!({"cniVersion": "0.4.0", "name": "multus-cni-network", "type": "multus",
            "delegates": [list]});
        fs::write(self.node.path("net.d/00-multus.conf"), file.to_string()).unwrap();
        self.multus = true;
        "multus copies"
    }

    fn multus_goes(&mut self) -> &'static str {
        let _ = fs::remove_file(self.node.path("net.d/00-multus.conf"));
        self.multus = false;
        "multus goes"
    }

    fn podman_comes_and_goes(&mut self) -> &'static str {
        let path = self.node.path("net.d/05-podman.conflist");
        self.podman = !self.podman;
        if !self.podman {
            fs::remove_file(path).unwrap();
            return "podman goes";
        }
        let list = json!({"cniVersion": "0.4.0", "name": "podman",
            "plugins": [{"type": "bridge", "bridge": "cni-podman0"}]});
        fs::write(path, list.to_string()).unwrap();
        "podman comes"
    }

    fn set_aside_and_back(&mut self) -> &'static str {
        if self.aside {
            self.bring_back();
            return "the list is brought back";
        }
        if self.node.conflist().exists() {
            let bak = self.node.path("net.d/10-terway.conflist.cilium_bak");
            fs::rename(self.node.conflist(), bak).unwrap();
            self.aside = true;
        }
        "the list is set aside"
    }

    fn bring_back(&mut self) {
        if self.aside {
            let bak = self.node.path("net.d/10-terway.conflist.cilium_bak");
            fs::rename(bak, self.node.conflist()).unwrap();
            self.aside = false;
        }
    }

    fn replace_plugin_directory(&mut self) -> &'static str {
        // The keeper may write into it meanwhile.
        while fs::remove_dir_all(self.node.path("bin")).is_err() {}
        sleep(Duration::from_millis(self.dice.roll(50) as u64));
        fs::create_dir(self.node.path("bin")).unwrap();
        "the plugin directory is replaced"
    }

    /// As a runtime: by the list as it is, and again where the plugin is not there for a moment.
    fn pod_comes(&mut self) -> &'static str {
        if self.pods.len() == MOST_PODS {
            return "enough pods";
        }
        self.made += 1;
        let id = format!("c{}", self.made);
        let address = format!("10.8.{}.{}", self.made / 250, self.made % 250 + 1);
        let pod = Pod::start(&self.node, &id, &address);
        self.call("ADD", &pod);
        self.node.cache(&pod.attachment);
        self.pods.insert(id, pod);
        "a pod comes"
    }

    fn pod_goes(&mut self) -> &'static str {
        let Some(id) = self.pods.keys().next().cloned() else {
            return "no pod";
        };
        let pod = self.pods.remove(&id).unwrap();
        self.call("DEL", &pod);
        fs::remove_file(self.node.cached(&pod.attachment)).unwrap();
        "a pod goes"
    }

    fn call(&mut self, verb: &str, pod: &Pod) {
        let start = Instant::now();
        while !self.node.plugin().exists() {
            let did = &self.did;
            assert!(start.elapsed() < CALM, "no plugin for {verb}: {did:?}");
            sleep(Duration::from_millis(20));
            self.supervise();
        }
        // From the configuration that the runtime loaded; a list without our entry calls nothing.
        self.node.call_as_listed(verb, &pod.attachment);
    }

    fn collect_garbage(&mut self) -> &'static str {
        let valid: Vec<Value> = self
            .pods
            .values()
            .map(|pod| json!({"containerID": pod.attachment.id, "ifname": "eth0"}))
            .collect();
        if self.node.plugin().exists() {
            self.node.collect_garbage(&valid);
        }
        "garbage is collected"
    }

    fn kill_the_keeper(&mut self) -> &'static str {
        self.keeper = None;
        self.keeper = Some(Keeper::spawn(&self.node));
        "the keeper is killed"
    }

    /// Somewhere between its start and its rest.
    fn kill_the_keeper_at_a_call(&mut self) -> &'static str {
        self.keeper = None;
        let mut keeper = self.node.sockway(&["run"]);
        // Without pages no thread of theirs holds the port for a moment longer.
        keeper.env("SOCKWAY_LISTEN", "none");
        let started = Instant::now();
        let rests = || started.elapsed() > Duration::from_secs(2);
        run_and_kill_unless(&keeper, self.dice.roll(MOST_CALLS), &rests);
        self.keeper = Some(Keeper::spawn(&self.node));
        "a keeper is killed at a call"
    }

    /// Pods that are there live on, and are registered again.
    fn uninstall_and_again(&mut self) -> &'static str {
        // Killed: one that has not begun to wait for signals would end by them as well.
        self.keeper = None;
        self.node.run(&["uninstall"], 0);
        assert!(
            !self.node.path("bpf/sockway").exists(),
            "uninstall left pins"
        );
        self.keeper = Some(Keeper::spawn(&self.node));
        "an uninstall, and again"
    }

    fn upgrade(&mut self) -> &'static str {
        // As an operator beside it: refused where there is no list, and then nothing changes.
        let _ = self.node.sockway(&["install", "--quiet"]).output().unwrap();
        "an install"
    }

    fn touch_the_binary(&mut self) -> &'static str {
        if self.node.plugin().exists() {
            fs::write(self.node.path("bin/.other"), "#!/bin/sh\nexit 1\n").unwrap();
            fs::remove_file(self.node.path("bin/.other")).unwrap();
        }
        "somebody writes beside the binary"
    }

    /// What does not hold; empty where all does.
    fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let directory = self.node.path("net.d");
        let cni = CniArgs {
            cni_bin_dir: self.node.path("bin"),
            ..CniArgs::under(&directory)
        };
        let targets = confdir::targets(&cni).map(|t| t.files).unwrap_or_default();
        for name in confdir::loadable(&directory).unwrap() {
            let path = directory.join(&name);
            let text = fs::read_to_string(&path).unwrap();
            if serde_json::from_str::<Value>(&text).is_err() {
                wrong.push(format!("{name} is no JSON: {text:?}"));
            }
            let entries = text.matches("\"sockway-cni\"").count();
            if entries != usize::from(targets.contains(&path)) {
                wrong.push(format!("{name} has {entries} entries: {text}"));
            }
        }
        let path = if self.aside {
            self.node.path("net.d/10-terway.conflist.cilium_bak")
        } else {
            self.node.conflist()
        };
        let mut list: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let plugins = list["plugins"].as_array_mut().unwrap();
        plugins.retain(|plugin| plugin["type"] != "sockway-cni");
        if list != self.list() {
            wrong.push(format!("of {} is left {list}", self.list()));
        }
        if !self.node.plugin().exists() {
            wrong.push("the plugin is not there".to_owned());
        }
        match Registry::open(&self.node.pins()).and_then(|r| r.sandboxes()) {
            Ok(rows) => {
                let mut ids: Vec<String> = rows
                    .iter()
                    .map(|(_, row)| field_text(&row.container_id).to_owned())
                    .collect();
                let mut live: Vec<String> = self.pods.keys().cloned().collect();
                ids.sort();
                live.sort();
                // Without a list nobody is called, and rows wait for the next one.
                if ids != live && !targets.is_empty() {
                    wrong.push(format!("rows of {ids:?}, pods {live:?}"));
                }
            }
            Err(e) => wrong.push(e.to_string()),
        }
        wrong
    }

    /// Starts the keeper again where it has ended, as a supervisor does.
    fn supervise(&mut self) {
        if self.keeper.as_mut().is_some_and(Keeper::has_ended) {
            let log = fs::read_to_string(self.node.path("run.log")).unwrap_or_default();
            println!("the keeper has ended: {}", log.trim());
            self.keeper = Some(Keeper::spawn(&self.node));
        }
    }

    fn calm(&mut self, seed: u64) {
        let start = Instant::now();
        sleep(Duration::from_secs(1));
        loop {
            self.supervise();
            let wrong = self.wrong();
            if wrong.is_empty() {
                return;
            }
            if start.elapsed() > CALM {
                let last = &self.did[self.did.len().saturating_sub(STRETCH)..];
                let log = fs::read_to_string(self.node.path("run.log")).unwrap();
                panic!("seed {seed}: {wrong:#?}\nafter {last:?}\n{log}");
            }
            sleep(Duration::from_millis(50));
        }
    }
}

fn live(seed: u64, steps: usize) {
    println!("seed {seed}, {steps} steps");
    let node = Node::alone();
    let mut world = World {
        node,
        keeper: None,
        dice: Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1),
        mtu: 0,
        istio: false,
        multus: false,
        podman: false,
        aside: false,
        pods: BTreeMap::new(),
        made: 0,
        did: Vec::new(),
    };
    world.terway();
    world.keeper = Some(Keeper::start(&world.node));
    for step in 1..=steps {
        world.step();
        if step % STRETCH == 0 {
            world.calm(seed);
        }
    }
    world.bring_back();
    world.calm(seed);
    world.keeper.take().unwrap().stop();
    for (_, pod) in std::mem::take(&mut world.pods) {
        world.node.call_as_listed("DEL", &pod.attachment);
    }
    world.node.run(&["uninstall", "--purge"], 0);
    for entry in fs::read_dir(world.node.path("net.d")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            !text.contains("sockway"),
            "seed {seed}: {}: {text}",
            path.display()
        );
    }
    assert!(
        !world.node.path("bpf/sockway").exists(),
        "seed {seed}: pins"
    );
    assert!(!world.node.plugin().exists(), "seed {seed}: binary");
    assert!(
        !world.node.path("run").exists(),
        "seed {seed}: run directory"
    );
}

#[test]
fn everybody_else_at_random() {
    // The keeper's times hold for release binaries on a machine that is not busy.
    if repeat(0, 1) == 0 {
        eprintln!("not run here: `make test-node` does, with the release binaries");
        return;
    }
    if Node::new("everybody_else_at_random").is_none() {
        return;
    }
    if let Ok(seed) = std::env::var("SOCKWAY_SEED") {
        return live(seed.parse().unwrap(), repeat(200, 2_000));
    }
    let first = u64::from(std::process::id());
    for seed in first..first + repeat(1, 10) as u64 {
        // On a thread of its own, which takes its namespaces with it.
        let done = std::thread::spawn(move || live(seed, repeat(200, 2_000)));
        if let Err(panic) = done.join() {
            std::panic::resume_unwind(panic);
        }
    }
}
