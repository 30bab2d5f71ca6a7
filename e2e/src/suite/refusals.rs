//! What `sockway install` refuses: by name, with the remedy, changing nothing.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use sockway_testkit::command::Ended;
use sockway_testkit::mesh::node::Node;
use sockway_testkit::place::Place;

use super::check::refused;
use super::{Case, Stage};

/// A user that may do nothing.
const NOBODY: u32 = 65534;
const FAILED: i32 = 1;
const USAGE: i32 = 2;

/// The cases.
pub(crate) fn cases() -> Vec<Case> {
    cases! {
        "refusals/no_bpf_file_system": no_bpffs;
        "refusals/not_a_cgroup2": no_cgroup2;
        "refusals/no_conflist": no_conflist;
        "refusals/conflist_is_not_json": not_json;
        "refusals/unknown_key_in_our_section": unknown_key;
        "refusals/wrong_value_in_our_section": wrong_value;
        "refusals/wrong_scope_on_the_command_line": wrong_scope;
        "refusals/not_root": not_root;
    }
}

/// Runs install with one variable changed; whatever comes of it, nothing may have changed.
fn install(node: &Node, name: &str, value: &str) -> Result<Ended> {
    let before = fs::read(node.conflist_path()).ok();
    let ended = node.sockway(&["install"]).env(name, value).ended()?;
    ensure!(
        fs::read(node.conflist_path()).ok() == before,
        "the conflist changed"
    );
    ensure!(
        !node.pins().dir().exists(),
        "pins are left after a refused install"
    );
    Ok(ended)
}

fn no_bpffs(stage: &Stage) -> Result<()> {
    let node = Node::new(&stage.tools)?;
    let elsewhere = node.scratch.path("no-bpffs").join("sockway");
    let elsewhere = elsewhere.to_string_lossy();
    refused(
        &install(&node, "SOCKWAY_BPFFS", &elsewhere)?,
        FAILED,
        &[&elsewhere, "mount"],
    )
}

fn no_cgroup2(stage: &Stage) -> Result<()> {
    let node = Node::new(&stage.tools)?;
    let elsewhere = node.scratch.path("logs");
    let elsewhere = elsewhere.to_string_lossy();
    refused(
        &install(&node, "SOCKWAY_CGROUP", &elsewhere)?,
        FAILED,
        &[&elsewhere, "cgroup2"],
    )
}

fn no_conflist(stage: &Stage) -> Result<()> {
    let node = Node::new(&stage.tools)?;
    fs::remove_file(node.conflist_path())?;
    let net_d = node.scratch.path("net.d");
    refused(
        &install(&node, "LANG", "C")?,
        FAILED,
        &[&net_d.to_string_lossy()],
    )
}

fn not_json(stage: &Stage) -> Result<()> {
    let node = Node::new(&stage.tools)?;
    fs::write(node.conflist_path(), "{ \"name\": \"cut").context("write the conflist")?;
    refused(
        &install(&node, "LANG", "C")?,
        FAILED,
        &[sockway_testkit::mesh::node::CONFLIST],
    )
}

fn with_section(node: &Node, section: &Value) -> Result<()> {
    let mut conflist = node.conflist();
    if let Some(plugins) = conflist["plugins"].as_array_mut() {
        plugins.push(section.clone());
    }
    node.write_conflist(&conflist)
}

fn unknown_key(stage: &Stage) -> Result<()> {
    let node = Node::new(&stage.tools)?;
    with_section(&node, &json!({ "type": "sockway-cni", "skope": "auto" }))?;
    refused_value(&install(&node, "LANG", "C")?, &["skope"])
}

fn wrong_value(stage: &Stage) -> Result<()> {
    let node = Node::new(&stage.tools)?;
    with_section(
        &node,
        &json!({ "type": "sockway-cni", "envoyPorts": { "outbound": 150_010 } }),
    )?;
    refused_value(&install(&node, "LANG", "C")?, &["envoyPorts", "150010"])
}

fn wrong_scope(stage: &Stage) -> Result<()> {
    let node = Node::new(&stage.tools)?;
    refused(
        &install(&node, "SOCKWAY_SCOPE", "some")?,
        USAGE,
        &["some", "auto"],
    )
}

/// Refused as a wrong value or as a failure: both say so in words.
fn refused_value(ended: &Ended, words: &[&str]) -> Result<()> {
    let code = if ended.code == Some(USAGE) {
        USAGE
    } else {
        FAILED
    };
    refused(ended, code, words)
}

fn not_root(stage: &Stage) -> Result<()> {
    let node = Node::new(&stage.tools)?;
    // A copy where the user can get to it.
    let copy = node.scratch.path("sockway");
    fs::copy(&node.tools.sockway, &copy).context("copy sockway")?;
    let place = Place {
        user: Some(NOBODY),
        ..Place::default()
    };
    let ended = node.sockway_at(&copy, &["install"]).at(&place)?.ended()?;
    refused(&ended, FAILED, &["root"])
}
