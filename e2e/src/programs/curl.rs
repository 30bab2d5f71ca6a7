//! HTTP by curl: what every HTTP server is asked.

use anyhow::{Result, ensure};
use sockway_testkit::command::Run;

use super::facts::Facts;
use super::site::Site;

/// Calls one after the other at first, from which the datapath learns how both read.
const FIRST: u32 = 12;
/// Calls at a time.
const AT_A_TIME: u32 = 24;
/// What curl prints of each transfer.
const TRANSFER: &str = "%{http_code} %{size_download} bytes, %{num_connects} connects\\n";

/// How long a call may take, seconds.
const LIMIT: &str = "15";

/// How a server takes what is sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upload {
    /// It does not.
    None,
    /// By PUT, into this directory of its own.
    Put,
    /// By POST, and sends it back.
    Echo,
}

/// curl, as every call is made.
pub(crate) fn curl(site: &Site<'_>) -> Result<Run> {
    let fixed = ["--silent", "--show-error", "--max-time", LIMIT];
    Ok(site.client("curl")?.args(fixed).args(["-w", TRANSFER]))
}

/// Everything.
pub(crate) fn exchange(site: &Site<'_>, upload: Upload) -> Result<Facts> {
    let mut facts = Facts::default();
    for number in 0..FIRST {
        get(site, &mut facts, &format!("first-{number}"), "small")?;
    }
    keep_alive(site, &mut facts)?;
    let range = curl(site)?.args(["-r", "1000-50000", "-o"]);
    let range = range.arg(site.path("range")).arg(site.url("page"));
    facts.succeed("range", range)?;
    let head = curl(site)?.args(["--head", "-o", "/dev/null", &site.url("page")]);
    facts.succeed("head", head)?;
    let missing = curl(site)?.args(["-o", "/dev/null", &site.url("missing")]);
    let text = facts.succeed("missing", missing)?;
    ensure!(text.starts_with("404 "), "a missing file: {text}");
    at_a_time(site, &mut facts)?;
    match upload {
        Upload::None => {}
        Upload::Put => put(site, &mut facts)?,
        Upload::Echo => post(site, &mut facts)?,
    }
    Ok(facts)
}

/// One file by one call.
pub(crate) fn get(site: &Site<'_>, facts: &mut Facts, name: &str, file: &str) -> Result<()> {
    let to = site.path(name);
    facts.succeed(name, curl(site)?.arg("-o").arg(&to).arg(site.url(file)))?;
    facts.same(name, &to, &site.files.get(file))
}

/// Several files on one connection.
fn keep_alive(site: &Site<'_>, facts: &mut Facts) -> Result<()> {
    let files = ["small", "page", "large", "small", "large", "page"];
    let mut run = curl(site)?;
    for (number, file) in files.iter().enumerate() {
        let to = site.path(&format!("kept-{number}"));
        run = run.arg("-o").arg(to).arg(site.url(file));
    }
    facts.succeed("keep-alive", run)?;
    for (number, file) in files.iter().enumerate() {
        let name = format!("kept-{number}");
        facts.same(&name, &site.path(&name), &site.files.get(file))?;
    }
    Ok(())
}

fn at_a_time(site: &Site<'_>, facts: &mut Facts) -> Result<()> {
    let mut run = site.client("curl")?.args(["--silent", "--show-error"]);
    run = run.args(["--no-progress-meter", "--max-time", LIMIT]);
    run = run.args(["--parallel", "--parallel-immediate", "-w", "%{http_code}\n"]);
    for number in 0..AT_A_TIME {
        let to = site.path(&format!("parallel-{number}"));
        run = run.arg("-o").arg(to).arg(site.url("page"));
    }
    facts.succeed("parallel", run)?;
    for number in 0..AT_A_TIME {
        let name = format!("parallel-{number}");
        facts.same(&name, &site.path(&name), &site.files.get("page"))?;
    }
    Ok(())
}

/// What is sent: each larger than a server's read buffer, and sent again and again.
const SENT: [&str; 6] = ["small", "page", "large", "page", "large", "small"];

fn put(site: &Site<'_>, facts: &mut Facts) -> Result<()> {
    for (number, file) in SENT.iter().enumerate() {
        let name = format!("put-{number}");
        let run = curl(site)?
            .args(["-o", "/dev/null", "-T"])
            .arg(site.files.get(file))
            .arg(site.url(&name));
        let text = facts.succeed(&name, run)?;
        ensure!(text.starts_with("201 "), "{name}: {text}");
        facts.same(&name, &site.path("root").join(&name), &site.files.get(file))?;
    }
    Ok(())
}

fn post(site: &Site<'_>, facts: &mut Facts) -> Result<()> {
    for (number, file) in SENT.iter().enumerate() {
        let name = format!("post-{number}");
        let body = format!("@{}", site.files.get(file).display());
        let run = curl(site)?
            .args(["-H", "Expect:", "--data-binary", &body, "-o"])
            .arg(site.path(&name))
            .arg(site.url("echo"));
        let text = facts.succeed(&name, run)?;
        ensure!(text.starts_with("200 "), "{name}: {text}");
        facts.same(&name, &site.path(&name), &site.files.get(file))?;
    }
    Ok(())
}
