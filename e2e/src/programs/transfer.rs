//! The same of every program: files fetched and sent, fast and by a reader that pauses.
//!
//! Servers take `GET /NAME` and `POST /fast` or `/slow`, which they answer with
//! the SHA-256 of what came. A slow reader pauses for 300 ms after the first
//! 64 KiB and after each 8 MiB. Clients of our own take `get|put fast|slow
//! HOST:PORT COUNT NAME...` and print a checksum a line.

use std::ffi::OsString;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sockway_testkit::command::Run;

use super::facts::{Facts, checksum};
use super::site::Site;

/// What one client process does, on one connection where the program can.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Transfer {
    /// The phase's name.
    pub(crate) name: &'static str,
    /// To the client, or from it.
    pub(crate) get: bool,
    /// Whether the reader pauses.
    pub(crate) slow: bool,
    /// How often.
    pub(crate) count: u32,
    /// These files.
    pub(crate) files: &'static [&'static str],
}

/// In this order: something small first, as any program is seen before it is busy.
const TRANSFERS: [Transfer; 5] = [
    Transfer {
        name: "first",
        get: true,
        slow: false,
        count: 20,
        files: &["small"],
    },
    Transfer {
        name: FETCH,
        get: true,
        slow: false,
        count: 50,
        files: ORDINARY,
    },
    Transfer {
        name: SEND,
        get: false,
        slow: false,
        count: 50,
        files: ORDINARY,
    },
    Transfer {
        name: "slow fetch",
        get: true,
        slow: true,
        count: 1,
        files: UP_TO_64_MIB,
    },
    Transfer {
        name: "slow send",
        get: false,
        slow: true,
        count: 1,
        files: UP_TO_64_MIB,
    },
];
/// The phases that are held to the bar.
pub(crate) const FETCH: &str = "fetch";
/// See [`FETCH`].
pub(crate) const SEND: &str = "send";
/// As much one way as the other; see [`FETCH`].
pub(crate) const BOTH: &str = "both";
const ORDINARY: &[&str] = &["small", "page", "page"];
const UP_TO_64_MIB: &[&str] = &["page", "400k", "400k", "400k", "3m", "64m"];

/// How long one client process may take; some ten seconds are usual.
const LIMIT: Duration = Duration::from_secs(90);
/// How much longer than plain it may take: what stands still for long does not pass as slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// All of it by a client: a function that hands back a checksum for each file.
pub(crate) fn all(
    site: &Site<'_>,
    client: impl Fn(&Site<'_>, &Transfer) -> Result<Vec<String>>,
) -> Result<Facts> {
    let mut facts = Facts::default();
    for transfer in &TRANSFERS {
        let Transfer {
            name, count, files, ..
        } = *transfer;
        let lines = site.phase(name, || client(site, transfer)).context(name)?;
        let files = (0..count).flat_map(|_| files);
        let wanted = files.map(|file| site.files.sum(file));
        let mut wanted = wanted.collect::<Result<Vec<_>>>()?;
        let mut got = lines;
        wanted.sort_unstable();
        got.sort_unstable();
        ensure!(
            got == wanted,
            "{name}: other bytes came than were sent, or not as many files: {} of {} are right; it says {}",
            got.iter().filter(|sum| wanted.contains(sum)).count(),
            wanted.len(),
            got.last().map_or("nothing", String::as_str),
        );
        for sum in got {
            facts.add(name, sum);
        }
    }
    Ok(facts)
}

/// By a program of ours in the client's place: its command and first arguments.
pub(crate) fn own(
    site: &Site<'_>,
    command: &[OsString],
    transfer: &Transfer,
) -> Result<Vec<String>> {
    let Transfer {
        get,
        slow,
        count,
        files,
        ..
    } = *transfer;
    let (program, lead) = command.split_first().context("no program")?;
    let run = Run::new(program)
        .at(site.client_pod().place())?
        .args(lead)
        .args([if get { "get" } else { "put" }, speed(slow), &site.to()])
        .arg(count.to_string())
        .limit(LIMIT);
    let run = match site.from() {
        Some(from) => run.env("FROM", from.to_string()),
        None => run,
    };
    let run = files.iter().fold(run, |run, file| {
        if get {
            run.arg(file)
        } else {
            run.arg(site.files.get(file))
        }
    });
    Ok(lines(&run.output()?))
}

/// By curl: several files on one connection, or one each through a pipe whose reader pauses.
pub(crate) fn curl(site: &Site<'_>, transfer: &Transfer) -> Result<Vec<String>> {
    let Transfer {
        get,
        slow,
        count,
        files,
        ..
    } = *transfer;
    let curl = || -> Result<Run> {
        let run = site.client("curl")?.args(["--silent", "--show-error"]);
        // Nothing at all for thirty seconds is an error.
        let run = run.args(["--fail", "--speed-limit", "1", "--speed-time", "30"]);
        let run = match site.from() {
            Some(from) => run.args(["--interface", &from.to_string()]),
            None => run,
        };
        Ok(run.limit(LIMIT))
    };
    let mut sums = Vec::new();
    for file in files {
        if !get {
            let body = format!("@{}", site.files.get(file).display());
            let run = curl()?.args(["-H", "Expect:", "--data-binary", &body]);
            let urls = (0..count).map(|_| site.url(speed(slow)));
            sums.extend(lines(&run.args(urls).output()?));
        } else if slow {
            let run = site.client("bash")?.args(["-c", PAUSES]);
            let run = run.env("PAUSES", pauses(site, file)?);
            let run = run.arg(site.programs.get("curl")?);
            let run = match site.from() {
                Some(from) => run.args(["--interface", &from.to_string()]),
                None => run,
            };
            let text = run.arg(site.url(file)).limit(LIMIT).output()?;
            sums.extend(lines(&text));
        } else {
            let to = |number: u32| site.path(&format!("fetched-{number}"));
            let run = (0..count).fold(curl()?, |run, number| {
                run.arg("-o").arg(to(number)).arg(site.url(file))
            });
            run.done()?;
            for number in 0..count {
                sums.push(checksum(&to(number))?);
                fs::remove_file(to(number)).context("remove what was fetched")?;
            }
        }
    }
    Ok(sums)
}

/// How often a slow reader of a file pauses, after the first time.
pub(crate) fn pauses(site: &Site<'_>, file: &str) -> Result<String> {
    let bytes = fs::metadata(site.files.get(file))?.len();
    Ok((bytes >> 23).to_string())
}

/// A reader of a pipe that pauses, so that the pipe's writer does not read its socket meanwhile.
pub(crate) const PAUSES: &str = r#"set -o pipefail
"$0" --silent --show-error --fail --speed-limit 1 --speed-time 30 "$@" | {
    head -c 65536; sleep 0.3
    for ((; PAUSES > 0; PAUSES--)); do head -c 8388608; sleep 0.3; done
    cat
} | sha256sum"#;

/// The word for a reader's speed.
pub(crate) const fn speed(slow: bool) -> &'static str {
    if slow { "slow" } else { "fast" }
}

/// The first word of each line.
pub(crate) fn lines(text: &str) -> Vec<String> {
    let words = text
        .lines()
        .map(|line| line.split(' ').next().unwrap_or_default());
    words.map(str::to_owned).collect()
}
