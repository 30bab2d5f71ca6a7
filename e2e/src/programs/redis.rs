//! Redis as a store of files, by netcat: it speaks the protocol and never blocks.

use std::fs::{self, File};
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sockway_testkit::command::Run;
use sockway_testkit::process::Process;

use super::site::Site;
use super::transfer::{Transfer, lines, pauses};

/// How long one file may take.
const LIMIT: Duration = Duration::from_mins(1);
/// Takes the answer to GET apart: what is left is the file. Netcat does not half-close: Redis
/// takes that for the end of its client, and QUIT ends the connection.
const GET: &str = r#"set -o pipefail
"$0" "$1" "$2" | if [ "$5" = slow ]; then
    head -c 65536; sleep 0.3
    for ((; PAUSES > 0; PAUSES--)); do head -c 8388608; sleep 0.3; done
    cat
else cat; fi | { head -c "$3" >/dev/null; head -c "$4" | sha256sum; cat >/dev/null; }"#;

/// The server.
pub(crate) fn serve(site: &Site<'_>) -> Result<Vec<Process>> {
    let (port, dir) = (site.port.to_string(), site.dir.to_string_lossy());
    let socket = site.path("redis.sock");
    let socket = socket.to_string_lossy();
    let args = [
        ["--port", &port],
        ["--dir", &dir],
        ["--unixsocket", &socket],
        ["--save", ""],
        ["--appendonly", "no"],
        ["--protected-mode", "no"],
        ["--enable-debug-command", "yes"],
    ];
    let args = [&args.concat()[..], &["--bind", "*", "-::*"]].concat();
    Ok(vec![site.serve("redis-server", &args)?])
}

/// The server, which holds the files already.
pub(crate) fn serve_files(site: &Site<'_>) -> Result<Vec<Process>> {
    let servers = serve(site)?;
    for name in ["small", "page", "400k", "3m", "64m"] {
        let file = File::open(site.files.get(name))?;
        let run = Run::new(site.programs.get("redis-cli")?).arg("-s");
        let run = run.arg(site.path("redis.sock")).args(["-x", "SET", name]);
        run.stdin(file).done()?;
    }
    Ok(servers)
}

/// GET of a file, or SET and what the server says its checksum is.
pub(crate) fn transfer(site: &Site<'_>, wanted: &Transfer) -> Result<Vec<String>> {
    let mut sums = Vec::new();
    for name in (0..wanted.count).flat_map(|_| wanted.files) {
        sums.push(if wanted.get {
            get(site, name, wanted.slow)?
        } else {
            set(site, name)?
        });
    }
    Ok(sums)
}

fn get(place: &Site<'_>, name: &str, slow: bool) -> Result<String> {
    let size = fs::metadata(place.files.get(name))?.len().to_string();
    let head = format!("${size}\r\n").len().to_string();
    let asked = place.path("asked");
    fs::write(&asked, format!("GET {name}\r\nQUIT\r\n")).context("write a request")?;
    let (host, port) = (place.service().to_string(), place.port.to_string());
    let run = place.client("bash")?.args(["-c", GET]);
    let run = run.env("PAUSES", pauses(place, name)?);
    let run = run.arg(place.programs.get("nc.openbsd")?);
    let speed = if slow { "slow" } else { "fast" };
    let run = run.args([&*host, &port, &head, &size, speed]);
    let text = run.stdin(File::open(&asked)?).limit(LIMIT).output()?;
    lines(&text).pop().context("no checksum")
}

/// Redis knows SHA-1 only, so that is compared here.
fn set(place: &Site<'_>, name: &str) -> Result<String> {
    let path = place.files.get(name);
    let (bytes, asked) = (fs::read(&path)?, place.path("asked"));
    let mut file = File::create(&asked).context("write a request")?;
    let key = format!("put-{name}");
    let (length, count) = (key.len(), bytes.len());
    write!(
        file,
        "*3\r\n$3\r\nSET\r\n${length}\r\n{key}\r\n${count}\r\n"
    )?;
    file.write_all(&bytes)?;
    write!(
        file,
        "\r\nEVAL \"return redis.sha1hex(redis.call('get', KEYS[1]))\" 1 {key}\r\nQUIT\r\n"
    )?;
    let (host, port) = (place.service().to_string(), place.port.to_string());
    let run = place.client("nc.openbsd")?.args([&host, &port]);
    let said = run.stdin(File::open(&asked)?).limit(LIMIT).output()?;
    let sum = Run::new("sha1sum").arg(&path).output()?;
    let sum = sum.split(' ').next().unwrap_or_default();
    ensure!(
        said.lines().any(|line| line == sum),
        "the server has other bytes than {name}: it says {said:?}, not {sum}"
    );
    place.files.sum(name)
}
