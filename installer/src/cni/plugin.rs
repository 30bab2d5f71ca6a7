//! The plugin's binary: where it comes from and whether it runs.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::cni::conflist::PLUGIN_TYPE;

/// An answer takes a millisecond or two; a result of the plugin fits into a pipe.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// The binary to install: as named, or the one beside the running executable.
///
/// # Errors
///
/// Where there is no such file.
pub fn find(given: Option<&Path>) -> Result<PathBuf> {
    let path = match given {
        Some(path) => path.to_owned(),
        None => std::env::current_exe()
            .context("cannot find the running executable: name the plugin with --plugin")?
            .with_file_name(PLUGIN_TYPE),
    };
    ensure!(
        path.is_file(),
        "there is no plugin at {}: name it with --plugin",
        path.display()
    );
    Ok(path)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VersionReply {
    supported_versions: Vec<String>,
}

/// Runs the plugin with `CNI_COMMAND=VERSION` and checks that it speaks `cni_version`.
///
/// A binary that does not start on this node (another architecture, a `noexec`
/// mount) would keep every pod from starting, so this comes before the conflist names it.
///
/// # Errors
///
/// Where it does not start, does not answer within 5 s, or does not speak the version.
pub fn probe(path: &Path, cni_version: &str) -> Result<()> {
    let reply = ask(path).with_context(|| {
        format!(
            "{} does not work as a CNI plugin on this node",
            path.display()
        )
    })?;
    ensure!(
        reply.supported_versions.iter().any(|v| v == cni_version),
        "{} does not speak CNI {cni_version} (it speaks {}): install plugin and installer of one version",
        path.display(),
        reply.supported_versions.join(", ")
    );
    Ok(())
}

fn ask(path: &Path) -> Result<VersionReply> {
    let text = call(
        path,
        &[("CNI_COMMAND", "VERSION")],
        br#"{"cniVersion":"1.0.0"}"#,
    )?;
    serde_json::from_str(&text).with_context(|| format!("its answer to VERSION is {text:?}"))
}

/// Calls a plugin as a runtime does and hands back what it printed.
///
/// # Errors
///
/// Where it cannot be started, fails (with its own words), or takes longer than 5 s.
pub fn call(path: &Path, variables: &[(&str, &str)], stdin: &[u8]) -> Result<String> {
    let mut child = Command::new(path)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("it cannot be started (another architecture, or a noexec mount?)")?;
    if let Some(mut pipe) = child.stdin.take() {
        // A plugin that answers without reading closes the pipe: no matter.
        let _ = pipe.write_all(stdin);
    }
    let deadline = Instant::now() + CALL_LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().context("cannot wait for it")? {
            break status;
        }
        if Instant::now() > deadline {
            child.kill().context("cannot end it")?;
            child.wait().context("cannot wait for it")?;
            bail!("it did not answer within {} s", CALL_LIMIT.as_secs());
        }
        sleep(Duration::from_millis(1));
    };
    let mut text = String::new();
    if let Some(stdout) = child.stdout.as_mut() {
        stdout
            .read_to_string(&mut text)
            .context("cannot read its answer")?;
    }
    ensure!(status.success(), "it ended with {status}: {}", text.trim());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{find, probe};
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    fn script(dir: &Path, body: &str) -> PathBuf {
        let path = dir.join("sockway-cni");
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_plugin_that_answers() {
        let dir = tempfile::tempdir().unwrap();
        let body = r#"[ "$CNI_COMMAND" = VERSION ] && echo '{"cniVersion":"1.0.0","supportedVersions":["0.4.0","1.0.0"]}'"#;
        let path = script(dir.path(), body);
        probe(&path, "0.4.0").unwrap();
        assert!(
            probe(&path, "1.1.0")
                .unwrap_err()
                .to_string()
                .contains("does not speak CNI 1.1.0")
        );
    }

    #[test]
    fn plugins_that_do_not_work() {
        let dir = tempfile::tempdir().unwrap();
        for (body, part) in [("exit 3", "exit status: 3"), ("echo hello", "hello")] {
            let error = format!(
                "{:#}",
                probe(&script(dir.path(), body), "1.0.0").unwrap_err()
            );
            assert!(error.contains(part), "{error}");
        }
        let path = dir.path().join("not-executable");
        fs::write(&path, "x").unwrap();
        let error = format!("{:#}", probe(&path, "1.0.0").unwrap_err());
        assert!(error.contains("cannot be started"), "{error}");
    }

    #[test]
    fn a_missing_plugin_is_named() {
        let error = find(Some(Path::new("/nonexistent/sockway-cni")))
            .unwrap_err()
            .to_string();
        assert!(error.contains("/nonexistent/sockway-cni") && error.contains("--plugin"));
    }
}
