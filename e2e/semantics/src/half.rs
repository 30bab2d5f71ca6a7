//! An end whose program does not block, and takes a read that left nothing for the last one before
//! it is told of more: redirected bytes must not be sent to it (epoll(7); nginx, Netty, tokio).

use anyhow::{Context as _, Result, bail};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use sockway_common::program::{FIT_READS, SHORTS};
use sockway_testkit::pattern;

use crate::pace;
use crate::scene::Scene;
use crate::sys;

/// So often that nobody looks for more: it stays unproven, whatever the case does.
const READS: u64 = SHORTS + 4 * FIT_READS;
const SIZE: usize = 64;

/// Shows it. The other end reads to the end.
pub(crate) fn show(scene: &Scene) -> Result<()> {
    let (app, envoy) = scene.connect().context("show what it is like")?;
    let set = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
    set.add(&app, EpollEvent::new(flags, 1))?;
    for message in 0..READS {
        let bytes = pattern::bytes(message, SIZE);
        envoy.put(&bytes)?;
        let mut events = [EpollEvent::empty()];
        let wait = u16::try_from(pace::allow(std::time::Duration::from_secs(4)).as_millis())?;
        if set.wait(&mut events, wait)? == 0 {
            bail!("show what it is like: no event");
        }
        let mut buffer = [0; 2 * SIZE];
        let mut at = 0;
        while at < SIZE {
            at += sys::recv(&app, &mut buffer[at..], 0)?;
        }
        if buffer[..SIZE] != bytes {
            bail!("show what it is like: not what was sent came");
        }
        app.put(&bytes)?;
        if envoy.take(SIZE)? != bytes {
            bail!("show what it is like: not what was sent came back");
        }
        // The other end goes on until there is nothing more.
        let _again = sys::recv(&envoy, &mut buffer, libc::MSG_DONTWAIT);
    }
    drop(set);
    Ok(())
}
