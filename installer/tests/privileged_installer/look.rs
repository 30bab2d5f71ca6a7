//! The page of `sockway run` in a browser.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sockway_testkit::needs;

use super::keeper::{Keeper, page, until};
use super::node::{Node, POD, repeat, text};
use super::traffic::{Connection, edge_triggered};

/// How long the page may look at itself, in the browser's own time: some of its rounds.
const BUDGET: &str = "--virtual-time-budget=9000";

/// A headless browser that asks nobody but the page.
fn browser(profile: &Path, arguments: &[&str]) -> String {
    let output = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--window-size=1100,1000",
            BUDGET,
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(arguments)
        .arg("http://127.0.0.1:9475/")
        .output()
        .expect("chromium: `scripts/setup page` gets it");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// What `status` says the page shows, and so do `pods` and the kernel's reasons; switched off it says so.
#[test]
fn shows_in_a_browser_what_the_commands_say() {
    if repeat(0, 1) == 0 {
        eprintln!("not run here: `make test-node` does, which gets a browser");
        return;
    }
    let node = needs!(Node::new("shows_in_a_browser_what_the_commands_say"));
    let profile = node.path("profile");
    fs::create_dir(&profile).unwrap();
    let keeper = Keeper::start(&node);
    node.cni("ADD");
    let mut connection = Connection::open();
    for _ in 0..500 {
        connection.echo();
    }
    edge_triggered(100);
    drop(connection);
    let dom = browser(&profile, &["--dump-dom"]);
    for word in [
        ">ready<",
        "shop/cart-0",
        POD,
        "inbound",
        "requests",
        "as of ",
    ] {
        assert!(dom.contains(word), "{word}: {dom}");
    }
    let status = node.json(&["status"], 0);
    let tcp = status["figures"]["tcp"].as_array().unwrap();
    let reasons = tcp.iter().filter(|one| one["bytes"].as_u64().unwrap() > 0);
    for reason in reasons {
        let name = reason["reason"].as_str().unwrap();
        assert!(dom.contains(&format!(">{name}<")), "{name}: {dom}");
    }
    let said = node.run(&["status"], 0);
    let sentence = said.lines().find(|line| line.contains("of this node's"));
    let share = sentence
        .unwrap()
        .split_whitespace()
        .find(|w| w.starts_with(|c: char| c.is_ascii_digit()));
    assert!(dom.contains(share.unwrap()), "{share:?}: {dom}");
    if let Some(path) = std::env::var_os("SOCKWAY_SCREENSHOT") {
        let to = format!("--screenshot={}", Path::new(&path).display());
        browser(&profile, &[&to]);
    }
    node.run(&["off"], 0);
    until("the page says so", Duration::from_secs(5), || {
        page("/state.json").is_some_and(|state| state.contains(r#""off":true"#))
    });
    let dom = browser(&profile, &["--dump-dom"]);
    assert!(
        dom.contains(r#"<span id="off" class="badge bad">switched off"#),
        "{dom}"
    );
    keeper.stop();
    node.run(&["uninstall", "--purge"], 0);
    node.assert_gone(&[]);
}
