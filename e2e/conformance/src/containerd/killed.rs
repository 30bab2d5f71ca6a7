//! containerd is killed while it makes or removes a pod. What it remembers when
//! it is back a kubelet removes; nothing may be left then.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use super::daemon::Daemon;
use super::{Bed, Cases, eventually};

/// When it is killed, after the call began: at any time, wherever it is then.
const AFTER_MS: [u64; 5] = [5, 30, 60, 120, 240];

pub(super) fn cases(cases: &mut Cases<'_>) {
    for after in AFTER_MS {
        let name = format!("killed/{after}-ms-into-RunPodSandbox");
        cases.case(&name, |bed| {
            let made = while_making(bed, || {
                thread::sleep(Duration::from_millis(after));
                Ok(())
            });
            made.map(drop)
        });
    }
    cases.case("killed/when-the-pod-is-registered", |bed| {
        registered(bed, 0)
    });
    cases.case("killed/15-ms-after-that", |bed| registered(bed, 15));
    cases.case("killed/when-the-pod-is-unregistered", unregistered);
}

/// Kills containerd when `moment` returns; whether the pod had been made by then.
fn while_making(bed: &Bed, moment: impl FnOnce() -> Result<()>) -> Result<bool> {
    let wanted = bed.wanted("web-0", &[]);
    let client = bed.daemon.borrow().client()?;
    let run = thread::spawn(move || client.run(&wanted));
    moment()?;
    bed.restart(Daemon::kill)?;
    let made = run.join().map_err(|_| anyhow!("panic"))?.is_ok();
    remove_all(bed)?;
    Ok(made)
}

/// After ADD: the chain goes on without the runtime.
fn registered(bed: &Bed, and_ms: u64) -> Result<()> {
    let made = while_making(bed, || {
        eventually("the pod is registered", || Ok(!bed.node.rows()?.is_empty()))?;
        thread::sleep(Duration::from_millis(and_ms));
        Ok(())
    })?;
    if made && and_ms == 0 {
        bail!("the pod had been made: it was not in the middle");
    }
    Ok(())
}

fn unregistered(bed: &Bed) -> Result<()> {
    let id = bed.run(&bed.wanted("web-0", &[]))?;
    let client = bed.daemon.borrow().client()?;
    let stop = thread::spawn(move || client.stop(&id));
    eventually("the pod is unregistered", || {
        Ok(bed.node.rows()?.is_empty())
    })?;
    bed.restart(Daemon::kill)?;
    drop(stop.join().map_err(|_| anyhow!("panic"))?);
    remove_all(bed)
}

fn remove_all(bed: &Bed) -> Result<()> {
    let known = bed.client.borrow().list()?;
    for id in known {
        bed.end(&id).context("remove what it remembers")?;
    }
    Ok(())
}
