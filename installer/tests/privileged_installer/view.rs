//! What a person and a program see: status, pods, top, explain.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use sockway_testkit::needs;

use super::node::{Node, POD, text};
use super::traffic::Connection;

const ESCAPE: char = '\x1b';

/// The findings of `sockway explain`, those that speak for acceleration apart.
fn findings(node: &Node, ip: &str, good: bool) -> String {
    let explanation = node.json(&["explain", ip], 0);
    let findings = explanation["findings"].as_array().unwrap().iter();
    let wanted = findings.filter(|finding| finding["good"] == good);
    let words: Vec<&str> = wanted.map(|f| f["what"].as_str().unwrap()).collect();
    words.join("\n")
}

/// `sockway top` for one interval while bytes go there and back.
fn top(node: &Node, connection: &mut Connection) -> Value {
    let mut command = node.sockway(&["top", "--count", "1", "-o", "json"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(
            start.elapsed() < Duration::from_secs(20),
            "top does not end"
        );
        connection.echo();
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn what_people_and_programs_see() {
    let node = needs!(Node::new("what_people_and_programs_see"));
    for view in [&["status"][..], &["pods"], &["explain", POD], &["top"]] {
        let said = node.run(view, 3);
        assert!(said.contains("install"), "{view:?}: {said}");
    }
    node.run(&["install"], 0);
    assert!(findings(&node, POD, false).contains("not registered"));
    node.cni("ADD");
    assert!(findings(&node, POD, false).contains("no connection of it"));

    let mut connection = Connection::open();
    let frame = top(&node, &mut connection);
    let busiest = &frame["pods"][0];
    assert_eq!(busiest["pod"], "shop/cart-0");
    assert!(
        busiest["redirected_bytes"].as_f64().unwrap() > 1024.0,
        "{frame}"
    );
    assert_eq!(
        frame["total"]["redirected_bytes"],
        busiest["redirected_bytes"]
    );
    let good = findings(&node, POD, true);
    assert!(
        good.contains("registered as shop/cart-0 with scope all"),
        "{good}"
    );
    assert!(
        good.contains("since it was registered 1 connections to it"),
        "{good}"
    );

    // Without a terminal no colours; in one, colours, unless NO_COLOR says otherwise.
    let views: [&[&str]; 4] = [
        &["status"],
        &["pods"],
        &["explain", POD],
        &["top", "--count", "1"],
    ];
    for view in views {
        let plain = node.run(view, 0);
        assert!(!plain.contains(ESCAPE), "{view:?}: {plain}");
        assert!(
            plain.lines().all(|line| line.trim_end() == line),
            "{view:?}: {plain}"
        );
    }
    for (no_colour, coloured) in [("", true), ("1", false)] {
        let status = node.sockway(&["status"]);
        let mut terminal = Command::new("script");
        terminal
            .args([
                "-qec",
                &format!("{} status", status.get_program().display()),
                "/dev/null",
            ])
            .envs(
                status
                    .get_envs()
                    .filter_map(|(name, value)| Some((name, value?))),
            )
            .env("NO_COLOR", no_colour)
            .stdin(Stdio::null());
        let shown = text(&terminal.output().unwrap().stdout);
        assert!(shown.contains("attached"), "{shown}");
        assert_eq!(shown.contains(ESCAPE), coloured, "{shown}");
    }

    node.run(&["uninstall", "--purge"], 0);
    connection.echo();
    drop(connection);
    node.assert_gone(&[]);
}
