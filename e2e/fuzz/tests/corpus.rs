//! The kept corpus holds, and so do mutations of it that any machine can make.

use std::fs;
use std::path::Path;

use sockway_fuzz::{Check, TARGETS};

/// Mutations of each file.
const ROUNDS: u32 = 400;
/// What inputs are cut up at and filled with.
const PIECES: [&str; 16] = [
    "{",
    "}",
    "[",
    "]",
    "\"",
    ",",
    ":",
    "null",
    "1e999",
    "-0",
    "\\u0000",
    "\\ud800",
    "10.0.0.1/24",
    "prevResult",
    "\u{0}",
    "é",
];

/// The files of a target, in order of their names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let entries =
        fs::read_dir(&directory).unwrap_or_else(|e| panic!("{}: {e}", directory.display()));
    let mut files: Vec<_> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    assert!(!files.is_empty(), "{} is empty", directory.display());
    files.sort();
    files
}

fn mutate(random: &mut fastrand::Rng, bytes: &mut Vec<u8>) {
    for _ in 0..=random.usize(..4) {
        let at = random.usize(..=bytes.len());
        match random.u8(..5) {
            0 => bytes.truncate(at),
            1 if at < bytes.len() => bytes[at] = random.u8(..),
            2 => {
                let piece = PIECES[random.usize(..PIECES.len())];
                bytes.splice(at..at, piece.bytes());
            }
            3 => {
                let part = bytes[at..random.usize(at..=bytes.len())].to_vec();
                bytes.extend_from_slice(&part);
            }
            _ => {
                let end = at + random.usize(..=(bytes.len() - at).min(8));
                bytes.drain(at..end);
            }
        }
    }
}

/// Runs a check and names the input it fails on.
fn hold(check: Check, name: &str, data: &[u8]) {
    let held = std::panic::catch_unwind(|| check(data)).is_ok();
    assert!(held, "{name}: {}", data.escape_ascii());
}

#[test]
fn the_kept_inputs_hold() {
    for (target, check) in TARGETS {
        for (name, data) in corpus(target) {
            hold(check, &format!("{target}/{name}"), &data);
        }
    }
}

/// The seed is fixed, so a failure repeats; the message holds the whole input,
/// which belongs into the corpus then.
#[test]
fn mutations_of_the_kept_inputs_hold() {
    for (target, check) in TARGETS {
        let mut random = fastrand::Rng::with_seed(0x5eed);
        for (name, data) in corpus(target) {
            for round in 0..ROUNDS {
                let mut data = data.clone();
                mutate(&mut random, &mut data);
                hold(check, &format!("{target}/{name}, round {round}"), &data);
            }
        }
    }
}
