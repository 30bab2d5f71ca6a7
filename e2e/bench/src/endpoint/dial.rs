//! The asking end of new connections and of requests.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::{Dial, Times};
use crate::net;
use crate::results::Measured;

/// Connections before measuring begins, one after the other.
const WARM_UP: usize = 8;

/// New connections, one request each.
pub(super) fn dial(options: &Dial) -> Result<Measured> {
    on_threads(options, |options, times, until| {
        while Instant::now() < until {
            let begun = Instant::now();
            once(options)?;
            times.note(begun);
        }
        Ok(())
    })
}

/// The time of `connect()` alone.
pub(super) fn reach(options: &Dial) -> Result<Measured> {
    on_threads(options, |options, times, until| {
        while Instant::now() < until {
            let socket = net::socket(None, options.to)?;
            let begun = Instant::now();
            net::establish(&socket, options.to)?;
            times.note(begun);
        }
        Ok(())
    })
}

/// Requests, one after the other.
pub(super) fn ask(options: &Dial) -> Result<Measured> {
    on_threads(options, |options, times, until| {
        let socket = net::connect(None, options.to)?;
        let mut message = vec![0x5a; options.size];
        while Instant::now() < until {
            let begun = Instant::now();
            net::send(&socket, &message)?;
            net::receive(&socket, &mut message)?;
            times.note(begun);
        }
        Ok(())
    })
}

fn once(options: &Dial) -> Result<()> {
    let socket = net::connect(None, options.to)?;
    let mut message = vec![0x5a; options.size];
    net::send(&socket, &message)?;
    net::receive(&socket, &mut message)
}

fn on_threads(
    options: &Dial,
    work: impl Fn(&Dial, &mut Times, Instant) -> Result<()> + Sync,
) -> Result<Measured> {
    for _ in 0..WARM_UP {
        once(options)?;
    }
    let started = Instant::now();
    let until = started + Duration::from_millis(options.millis);
    let all = thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..options.connections)
            .map(|_| {
                scope.spawn(move || {
                    let mut times = Times::new()?;
                    work(options, &mut times, until)?;
                    anyhow::Ok(times)
                })
            })
            .collect();
        let mut all = Times::new()?;
        for thread in threads {
            let times = thread.join().map_err(|_| anyhow!("panic in a client"))??;
            all.0 += times.0;
        }
        anyhow::Ok(all)
    })?;
    Ok(all.measured(started.elapsed()))
}
