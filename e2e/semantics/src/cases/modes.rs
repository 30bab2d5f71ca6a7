//! A socket whose mode changes.

use anyhow::Result;
use nix::poll::PollFlags;
use sockway_testkit::pattern;

use super::closing::{warm, warmed};
use crate::case::Case;
use crate::end::End;
use crate::scene::{Scene, beside, pause};
use crate::sys::{self, Got};
use crate::variant::{Kind, Style};

pub(super) const CASES: &[Case] = cases! {
    "O_NONBLOCK after a read": "fcntl(2): reads stop waiting from then on" => nonblocking_late, only(Kind::BLOCKING);
    "O_NONBLOCK cleared": "fcntl(2): reads wait from then on"
        => blocking_late, only(Kind::NONBLOCKING), may_be_left();
    "a child that blocks": "fork(2), dup2(2): a child reads its standard input" => child_blocks, may_be_left();
};

fn nonblocking_late(t: &mut Scene) -> Result<()> {
    let (mut app, envoy) = warmed(t)?;
    app.change(Style::NonBlocking)?;
    t.is(
        "nothing there",
        sys::recv(&app, &mut [0; 1], 0),
        Err(nix::Error::EAGAIN),
    );
    warm(t, &app, &envoy)
}

/// Sends two halves while the application waits for all in one call.
fn waits_for_all(app: &End, envoy: &End, bytes: &[u8]) -> Result<Vec<u8>> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let mut buffer = vec![0; bytes.len()];
    let (got, ()) = beside(
        || app.recv(&mut buffer, libc::MSG_WAITALL),
        || {
            pause(50);
            envoy.put(first)?;
            pause(50);
            Ok(envoy.put(second)?)
        },
    )?;
    buffer.truncate(got?);
    Ok(buffer)
}

pub(super) fn waitall_late(t: &mut Scene) -> Result<()> {
    let (mut app, envoy) = warmed(t)?;
    app.change(Style::Blocking)?;
    for round in 0..3 {
        let sent = pattern::bytes(round, 800);
        let got = waits_for_all(&app, &envoy, &sent)?;
        t.bytes("MSG_WAITALL", &got, &sent);
        t.bytes("the rest", &app.take(800 - got.len())?, &sent[got.len()..]);
    }
    Ok(())
}

pub(super) fn blocking_late(t: &mut Scene) -> Result<()> {
    let (mut app, envoy) = warmed(t)?;
    app.change(Style::Blocking)?;
    for round in 0..5 {
        let sent = pattern::bytes(round, 800);
        let (got, ()) = beside(
            || app.take(800),
            || {
                for part in sent.chunks(200) {
                    pause(30);
                    envoy.put(part)?;
                }
                Ok(())
            },
        )?;
        t.bytes("the application reads", &got?, &sent);
        app.put(&sent)?;
        t.bytes("Envoy reads", &envoy.take(800)?, &sent);
    }
    let (got, ()) = beside(
        || app.rest(),
        || {
            pause(50);
            app.shutdown(std::net::Shutdown::Write)?;
            pause(50);
            t.is("Envoy reads to the end", envoy.rest(), (vec![], Ok(())));
            envoy.put(b"answer")?;
            Ok(envoy.shutdown(std::net::Shutdown::Write)?)
        },
    )?;
    t.is("after half-close", got, (b"answer".to_vec(), Ok(())));
    Ok(())
}

fn child_blocks(t: &mut Scene) -> Result<()> {
    let (mut app, envoy) = t.connect()?;
    app.change(Style::Blocking)?;
    let sent = pattern::bytes(4, 1000);
    let child = sys::fork(|| {
        let work = || -> Got<bool> {
            let mut input = std::os::fd::AsFd::as_fd(&app).try_clone_to_owned().ok();
            let input = input.take().ok_or(nix::Error::EMFILE)?;
            let mut buffer = vec![0; 1000];
            let mut at = 0;
            while at < 1000 {
                match sys::read(&input, &mut buffer[at..])? {
                    0 => return Ok(false),
                    n => at += n,
                }
            }
            app.put(b"done")?;
            Ok(buffer == sent && sys::read(&input, &mut buffer)? == 0)
        };
        i32::from(work() == Ok(true))
    })?;
    drop(app);
    for part in sent.chunks(250) {
        pause(30);
        envoy.put(part)?;
    }
    t.bytes("Envoy reads", &envoy.take(4)?, b"done");
    envoy.shutdown(std::net::Shutdown::Write)?;
    t.is("the child", child.wait(), Ok(1));
    envoy.ready(PollFlags::POLLIN)?;
    t.is("then the end", envoy.rest(), (vec![], Ok(())));
    Ok(())
}
