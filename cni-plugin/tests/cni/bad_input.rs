//! What is wrong with a call is named, with the code CNI asks for.

use std::fs;
use std::process::{Command, Stdio};

use crate::support::call::{Call, NO_BPFFS, conf, set, unset};
use serde_json::{Value, json};

const ATTACHMENT_VERBS: [&str; 2] = ["ADD", "CHECK"];

#[test]
fn variables() {
    let conf = conf("1.0.0", NO_BPFFS);
    for verb in ATTACHMENT_VERBS {
        let call = Call::new(verb, &conf);
        for name in ["CNI_CONTAINERID", "CNI_IFNAME"] {
            let expected = format!("{name} is not set");
            call.clone()
                .without(name)
                .run()
                .fails(4, "1.0.0", &expected);
            call.clone()
                .with(name, "")
                .run()
                .fails(4, "1.0.0", &format!("{name} is empty"));
            call.clone()
                .with(name, "../x")
                .run()
                .fails(4, "1.0.0", name);
        }
        let long = "x".repeat(5000);
        call.clone()
            .with("CNI_NETNS", &long)
            .run()
            .fails(4, "1.0.0", "CNI_NETNS is no path");
        call.clone()
            .without("CNI_NETNS")
            .run()
            .fails(4, "1.0.0", "CNI_NETNS is not set");
        call.clone()
            .with("CNI_NETNS", "")
            .run()
            .fails(4, "1.0.0", "CNI_NETNS is not set");
    }
    let call = Call::new("ADD", &conf);
    // The verb is looked at first: the version is not known then.
    call.clone()
        .without("CNI_COMMAND")
        .run()
        .fails(4, "1.1.0", "CNI_COMMAND is not set");
    for word in ["", "add", "UPDATE"] {
        let answer = call.clone().with("CNI_COMMAND", word).run();
        answer.fails(4, "1.1.0", "none of ADD, DEL, CHECK, STATUS, GC, VERSION");
    }
}

#[test]
fn configurations() {
    let good = conf("1.0.0", NO_BPFFS);
    let head = good.to_string();
    let table: Vec<(Vec<u8>, i32, &str, &str)> = vec![
        (b"".to_vec(), 6, "1.1.0", "EOF"),
        (
            b"\xff\xfe{}".to_vec(),
            6,
            "1.1.0",
            "cannot decode the network configuration",
        ),
        (b"[1]".to_vec(), 6, "1.1.0", "sequence"),
        (
            head.as_bytes()[..head.len() - 1].to_vec(),
            6,
            "1.1.0",
            "EOF",
        ),
        (
            "[".repeat(100_000).into_bytes(),
            6,
            "1.1.0",
            "cannot decode",
        ),
        (
            text(&set(good.clone(), "cniVersion", json!(1))),
            6,
            "1.1.0",
            "cniVersion",
        ),
        (
            text(&unset(good.clone(), "cniVersion")),
            1,
            "0.1.0",
            "\"0.1.0\"",
        ),
        (
            text(&set(good.clone(), "cniVersion", json!("2.0.0"))),
            1,
            "2.0.0",
            "supported: 0.3.0",
        ),
        (
            text(&unset(good.clone(), "name")),
            7,
            "1.0.0",
            "name is missing",
        ),
        (
            text(&set(good.clone(), "name", json!("a b"))),
            7,
            "1.0.0",
            "\"a b\"",
        ),
        (
            text(&set(good.clone(), "name", json!({}))),
            6,
            "1.0.0",
            "name",
        ),
        (
            vec![b' '; 65 << 20],
            7,
            "1.1.0",
            "larger than 67108864 bytes",
        ),
    ];
    for (stdin, code, version, part) in &table {
        for verb in ATTACHMENT_VERBS {
            Call::new(verb, &good)
                .stdin(stdin.clone())
                .run()
                .fails(*code, version, part);
        }
        // A runtime calls a DEL that fails again for ever, and the pod stays.
        let answer = Call::new("DEL", &good).stdin(stdin.clone()).run();
        answer.silent();
        answer.logs("", "DEL ");
    }
}

#[test]
fn del_succeeds_whatever_it_is_given() {
    let good = conf("1.0.0", NO_BPFFS);
    let strict = set(good.clone(), "strict", json!(true));
    let long = "x".repeat(5000);
    for conf in [&good, &strict, &Value::Null] {
        let call = Call::new("DEL", conf);
        call.run().silent();
        for name in [
            "CNI_CONTAINERID",
            "CNI_IFNAME",
            "CNI_NETNS",
            "CNI_ARGS",
            "CNI_PATH",
        ] {
            call.clone().without(name).run().silent();
            for value in ["", "../x", "a b", "\u{1}", &long] {
                call.clone().with(name, value).run().silent();
            }
        }
    }
    // No variable but the verb, and a standard input that cannot be read.
    let directory = fs::File::open("/").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sockway-cni"))
        .env_clear()
        .env("CNI_COMMAND", "DEL")
        .stdin(directory)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cannot read the configuration"), "{said}");
}

#[test]
fn annotations_as_large_as_the_api_server_takes_them() {
    // 256 KiB, each byte six in Go's JSON; and what no API server takes.
    for bytes in [262_144, 4 << 20] {
        let value = "\\u003c".repeat(bytes);
        let prev = "{\"ips\":[{\"address\":\"10.0.0.7/24\"}]}";
        let stdin = format!(
            "{{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"logFile\":\"\",\"bpffs\":\"{NO_BPFFS}\",\
             \"runtimeConfig\":{{\"io.kubernetes.cri.pod-annotations\":{{\"a\":\"{value}\"}}}},\"prevResult\":{prev}}}"
        );
        let call = |verb| Call::new(verb, &Value::Null).stdin(stdin.clone()).run();
        call("ADD").says(prev);
        call("DEL").silent();
    }
}

fn text(conf: &Value) -> Vec<u8> {
    conf.to_string().into_bytes()
}

#[test]
fn deep_nesting_in_what_is_not_ours_is_passed_on() {
    let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
    let prev = format!("{{\"ips\":[{{\"address\":\"10.0.0.7\"}}],\"x\":{deep}}}");
    let stdin = |own: &str| {
        format!(
            "{{\"cniVersion\":\"1.0.0\",\"name\":\"n\",\"logFile\":\"\",{own}\"prevResult\":{prev}}}"
        )
    };
    Call::new("ADD", &Value::Null)
        .stdin(stdin(""))
        .run()
        .says(&prev);
    let ours = stdin(&format!("\"scope\":{deep},"));
    let answer = Call::new("ADD", &Value::Null).stdin(ours).run();
    answer.says(&prev);
    answer.logs("WARN", "what cannot be read");
}

#[test]
fn a_log_file_that_cannot_be_written_fails_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("cni.log");
    for path in [
        dir.path(),
        &dir.path().join("no/such/dir"),
        "/dev/null".as_ref(),
    ] {
        let conf = set(conf("1.0.0", NO_BPFFS), "logFile", json!(path));
        let answer = Call::new("ADD", &conf).run();
        answer.says(&conf["prevResult"].to_string());
        answer.logs("WARN", "ADD");
        assert!(answer.stderr.contains("cannot be used"), "{answer:?}");
    }
    let conf = set(conf("1.0.0", NO_BPFFS), "logFile", json!(good));
    let answer = Call::new("ADD", &conf).run();
    Call::new("DEL", &conf).run().silent();
    let log = fs::read_to_string(&good).unwrap();
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    assert!(
        lines[0].contains("[WARN] ADD container=Container-1.a_b"),
        "{log}"
    );
    assert!(
        lines[1].contains("[INFO] DEL container=Container-1.a_b"),
        "{log}"
    );
    // Both say the same; the time is taken for each.
    let (_, rest) = lines[0].split_once(' ').unwrap();
    assert!(answer.stderr.contains(rest), "{answer:?} {log}");
}

#[test]
fn log_level_off_is_silent_and_debug_says_more() {
    for (level, silent) in [("off", true), ("error", true), ("debug", false)] {
        let conf = set(conf("1.0.0", NO_BPFFS), "logLevel", json!(level));
        let answer = Call::new("ADD", &conf).run();
        assert_eq!(answer.stderr.is_empty(), silent, "{answer:?}");
    }
}

#[test]
fn the_program_by_hand() {
    let plugin = || Command::new(env!("CARGO_BIN_EXE_sockway-cni"));
    let output = plugin()
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let expected = concat!("sockway-cni ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    assert!(output.status.success());

    // Standard output that cannot be written to is no reason to panic.
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let child = plugin()
        .env("CNI_COMMAND", "VERSION")
        .stdin(Stdio::null())
        .stdout(full)
        .output();
    let output = child.unwrap();
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    assert!(
        !String::from_utf8_lossy(&output.stderr).contains("panicked"),
        "{output:?}"
    );
}
