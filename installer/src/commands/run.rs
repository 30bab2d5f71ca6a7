//! `sockway run`.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use super::install::WantedArgs;
use crate::build::Facts;
use crate::exit::Exit;
use crate::keep::keeper::Keeper;
use crate::keep::late::{self, LateArgs};
use crate::keep::lock;
use crate::keep::programs;
use crate::keep::shared::Shared;
use crate::keep::watch::Watch;
use crate::node::drain;
use crate::reconcile::SourceArgs;
use crate::serve::{Pages, http};

/// Install, then keep this node as it should be until told to end
#[derive(Args, Debug)]
#[command(after_help = "\
Watches the conflist, the plugin's binary and the pins, and repairs within 2 s what others undo, at
most 4 times in a row and then once in 1.9 s. Pods that are older than the install are registered.
A pod where redirected bytes stand still although their reader waits for them is switched off, until
`sockway on --pod`: see --tripwire.
SIGTERM ends it and leaves the node as it is: everything goes on without it.

Pages: / (to look at in a browser), /healthz (the process lives), /readyz (the node is as it
should be, else why not), /metrics, /state.json (what / shows).

Examples:
  sockway run
  sockway run --listen 0.0.0.0:9475 --pod-metrics 100
  sockway run --percent 10 --late false     # a tenth of the pods, connections made from now on")]
pub struct RunArgs {
    #[command(flatten)]
    sources: SourceArgs,

    #[command(flatten)]
    late: LateArgs,

    /// Address for health, readiness and metrics; none: do not listen
    #[arg(long, value_name = "ADDRESS", env = "SOCKWAY_LISTEN", default_value = "127.0.0.1:9475",
          value_parser = address)]
    listen: Listen,

    /// How many pods get figures of their own in /metrics, those with the most bytes
    #[arg(
        long,
        value_name = "N",
        env = "SOCKWAY_POD_METRICS",
        default_value_t = 0
    )]
    pod_metrics: usize,

    /// How often the registered pods are compared with the live ones
    #[arg(long, value_name = "TIME", env = "SOCKWAY_RECONCILE_EVERY", default_value = "5m",
          value_parser = drain::duration)]
    reconcile_every: Duration,

    /// Put the programs in place for the keeper with this process id, say how it went, and end
    #[arg(long, value_name = "PID", hide = true)]
    programs_for: Option<u32>,

    #[command(flatten)]
    wanted: WantedArgs,
}

/// How long an install or an uninstall may take to finish.
const LOCK_WAIT: Duration = Duration::from_secs(10);

/// Where to listen, if at all.
#[derive(Clone, Copy, Debug)]
struct Listen(Option<SocketAddr>);

fn address(word: &str) -> Result<Listen, String> {
    if word == "none" {
        return Ok(Listen(None));
    }
    word.parse()
        .map(|a| Listen(Some(a)))
        .map_err(|_| "ADDRESS:PORT, or none".to_owned())
}

impl RunArgs {
    /// Runs the subcommand.
    ///
    /// # Errors
    ///
    /// What cannot get better by waiting: no root, wrong settings, another keeper.
    pub fn run(&self) -> Result<Exit> {
        let wanted = self.wanted.wanted();
        if let Some(keeper) = self.programs_for {
            return programs::put_for(keeper, &wanted);
        }
        log::info!("{}", Facts::gather(&wanted.pins).line());
        let mut host = wanted.check_host().context("nothing was changed")?;
        let _lock = lock::take(&wanted.run_dir.run_dir, "run", LOCK_WAIT)?;
        wanted.prove(&mut host).context("nothing was changed")?;
        let mut watch = Watch::new()?;
        let shared = Arc::new(Shared::new(Instant::now()));
        self.listen(&shared)?;
        late::start(
            wanted.pins.clone(),
            self.sources.clone(),
            self.late.clone(),
            Arc::clone(&shared),
        )?;
        let every = self.reconcile_every;
        let mut keeper = Keeper::new(wanted, host, self.sources.clone(), every, shared);
        keeper.run(&mut watch)?;
        log::info!("told to end; the node stays as it is");
        Ok(Exit::Done)
    }

    fn listen(&self, shared: &Arc<Shared>) -> Result<()> {
        let Listen(Some(address)) = self.listen else {
            return Ok(());
        };
        let listener = TcpListener::bind(address)
            .with_context(|| format!("cannot listen on {address}: name another with --listen"))?;
        let pages = Pages {
            pins: self.wanted.wanted().pins,
            shared: Arc::clone(shared),
            per_pod: self.pod_metrics,
            before: Arc::default(),
        };
        thread::Builder::new()
            .name("pages".to_owned())
            .spawn(move || {
                if let Err(e) = http::serve(listener, pages) {
                    log::error!("no health, readiness and metrics: {e:#}");
                }
            })
            .context("cannot start a thread")?;
        log::info!("health, readiness and metrics on http://{address}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::address;

    #[test]
    fn addresses() {
        assert!(address("none").unwrap().0.is_none());
        assert_eq!(address("[::1]:80").unwrap().0.unwrap().port(), 80);
        assert!(address(":80").is_err());
    }
}
