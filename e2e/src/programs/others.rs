//! Redis, `HAProxy`, netcat.

use std::fs::{self, File};

use anyhow::{Context, Result, ensure};
use sockway_testkit::command::Run;
use sockway_testkit::mesh::sidecar::{Protocol, vip};
use sockway_testkit::process::Process;

use super::facts::Facts;
use super::golang::{BEHIND, dial};
use super::manner::{Ends, Manner};
use super::program::Program;
use super::redis;
use super::route::Route;
use super::site::Site;
use super::transfer;

/// Keys that go through `redis-cli --pipe`.
const KEYS: u32 = 20_000;
/// How often: the first time the datapath watches.
const PIPES: u32 = 3;

/// The programs.
pub(crate) fn programs() -> Vec<Program> {
    let base = Program {
        name: "Redis, pipelined redis-benchmark",
        protocol: Protocol::Tcp,
        family: 0,
        route: Route::Mesh,
        start: redis::serve,
        exchange: benchmark,
        ends: Ends {
            client: Manner::UntilEmpty,
            server: Manner::UntilEmpty,
        },
    };
    vec![
        Program {
            name: "Redis, files by netcat",
            start: redis::serve_files,
            exchange: |site| transfer::all(site, redis::transfer),
            ..base
        },
        Program {
            name: "HAProxy mode http, curl",
            family: 1,
            start: haproxy_http,
            exchange: |site| transfer::all(site, transfer::curl),
            ..base
        },
        base,
        Program {
            name: "Redis, redis-cli --pipe, IPv6",
            family: 1,
            exchange: pipe,
            // But for --pipe, redis-cli blocks.
            ends: Ends {
                client: Manner::Blocks,
                ..base.ends
            },
            ..base
        },
        Program {
            name: "HAProxy mode tcp, Go client",
            start: haproxy,
            exchange: dial,
            ..base
        },
        Program {
            name: "nc with half-close, Go echo",
            start: |site| Ok(vec![site.serve_go("echo", &[])?]),
            exchange: netcat,
            ends: Ends {
                server: Manner::Splices,
                ..base.ends
            },
            ..base
        },
    ]
}

/// redis-cli in the client's pod, at the server by way of both Envoys.
///
/// At another service address than `--pipe`: what blocks on one address shall
/// not decide for the other.
fn cli(site: &Site<'_>) -> Result<Run> {
    let (host, port) = (vip(site.family, 11).to_string(), site.port.to_string());
    Ok(site.client("redis-cli")?.args(["-h", &host, "-p", &port]))
}

/// What the server holds now: the number of keys, and a checksum of everything.
fn state(site: &Site<'_>, facts: &mut Facts) -> Result<()> {
    let keys = facts.succeed("DBSIZE", cli(site)?.arg("DBSIZE"))?;
    ensure!(keys.trim() != "0", "the server holds nothing");
    facts.succeed("DEBUG DIGEST", cli(site)?.args(["DEBUG", "DIGEST"]))?;
    Ok(())
}

/// Fifty connections, sixteen requests under way on each; no random keys.
fn benchmark(site: &Site<'_>) -> Result<Facts> {
    let mut facts = Facts::default();
    let (host, port) = (site.service().to_string(), site.port.to_string());
    let at = ["-h", &host, "-p", &port, "-e", "-q"];
    let tests = "set,get,incr,lpush,rpush,sadd,hset,lrange_100,mset";
    for load in [
        ["-n", "200", "-c", "1", "-P", "1"],
        ["-n", "4000", "-c", "50", "-P", "16"],
    ] {
        let run = site.client("redis-benchmark")?.args(at).args(load);
        // Its figures of speed are no facts.
        let printed = run.args(["-t", tests]).output()?;
        let rates = printed.matches("requests per second").count();
        facts.add("tests that ended", rates.to_string());
        ensure!(!printed.contains("Error"), "{printed}");
    }
    let large = [
        "-n", "400", "-c", "8", "-P", "4", "-d", "200000", "-t", "set,get",
    ];
    site.client("redis-benchmark")?
        .args(at)
        .args(large)
        .done()?;
    state(site, &mut facts)?;
    let length = facts.succeed("STRLEN", cli(site)?.args(["STRLEN", "key:__rand_int__"]))?;
    ensure!(
        length.trim() == "200000",
        "the large value has {length} bytes"
    );
    Ok(facts)
}

/// The protocol itself through `redis-cli --pipe`, and all of it read back.
fn pipe(site: &Site<'_>) -> Result<Facts> {
    let mut facts = Facts::default();
    let file = site.path("commands");
    let mut text = String::new();
    for key in 0..KEYS {
        use std::fmt::Write as _;
        let value = format!("{key:x}").repeat(usize::try_from(key % 61)?);
        let name = format!("key-{key}");
        let _ = write!(
            text,
            "*3\r\n$3\r\nSET\r\n${}\r\n{name}\r\n${}\r\n{value}\r\n",
            name.len(),
            value.len()
        );
    }
    fs::write(&file, text).context("write the commands")?;
    let (host, port) = (site.service().to_string(), site.port.to_string());
    for round in 0..PIPES {
        let input = File::open(&file).context("open the commands")?;
        let run = site.client("redis-cli")?.args(["-h", &host, "-p", &port]);
        let said = facts.succeed(&format!("pipe-{round}"), run.arg("--pipe").stdin(input))?;
        let wanted = format!("errors: 0, replies: {KEYS}");
        ensure!(said.contains(&wanted), "redis-cli --pipe: {said}");
    }
    state(site, &mut facts)?;
    for key in [1, 60, 12_345] {
        let name = format!("key-{key}");
        facts.succeed(&name, cli(site)?.args(["GET", &name]))?;
    }
    Ok(facts)
}

/// `HAProxy` passing TCP on to an echo in the same pod.
fn haproxy(site: &Site<'_>) -> Result<Vec<Process>> {
    let behind = format!("127.0.0.1:{BEHIND}");
    let echo = site.serve_at(BEHIND, &site.programs.go, &["echo", "-listen", &behind])?;
    Ok(vec![proxy(site, "tcp", &behind)?, echo])
}

/// `HAProxy` passing requests on to a server of the files.
fn haproxy_http(site: &Site<'_>) -> Result<Vec<Process>> {
    let (socket, behind) = site.serve_behind()?;
    Ok(vec![
        proxy(site, "http", &format!("unix@{socket}"))?,
        behind,
    ])
}

fn proxy(site: &Site<'_>, mode: &str, behind: &str) -> Result<Process> {
    let port = site.port;
    let text = format!(
        "global
    maxconn 500
defaults
    mode {mode}
    timeout connect 10s
    timeout client 30s
    timeout server 30s
listen behind
    bind :::{port} v4v6
    server behind {behind}
"
    );
    let config = site.path("haproxy.cfg");
    fs::write(&config, text).context("write HAProxy's configuration")?;
    site.serve("haproxy", &["-db", "-f", &config.to_string_lossy()])
}

/// Sends a file, half-closes, reads to the end; with a time-out and without.
fn netcat(site: &Site<'_>) -> Result<Facts> {
    let mut facts = Facts::default();
    let (host, port) = (site.service().to_string(), site.port.to_string());
    for (number, file) in ["small", "page", "large"]
        .into_iter()
        .cycle()
        .take(12)
        .enumerate()
    {
        let input = site.files.get(file);
        let manner = if number % 2 == 0 { "-N" } else { "-Nw30" };
        let to = site.path(&format!("nc-{number}"));
        // To a file: what comes back is not text.
        let run = site.client("sh")?.args(["-c", TO_FILE]).arg(&to);
        let run = run.arg(site.programs.get("nc.openbsd")?).arg(manner);
        let run = run.args([&host, &port]).stdin(File::open(&input)?);
        let name = format!("nc {manner} {file}");
        facts.succeed(&name, run)?;
        facts.same(&name, &to, &input)?;
    }
    Ok(facts)
}

/// A shell becomes a program whose output goes to a file.
const TO_FILE: &str = r#"exec "$@" >"$0""#;
