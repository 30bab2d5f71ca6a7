//! Flags and options of the calls that write.

use std::io::{IoSlice, IoSliceMut};
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::Error as Errno;
use nix::poll::PollFlags;
use sockway_testkit::pattern;

use super::closing::warm;
use crate::case::Case;
use crate::end::End;
use crate::scene::{Scene, beside};
use crate::sys::{self, Got};

pub(super) const CASES: &[Case] = cases! {
    "MSG_MORE": "send(2): pieces arrive in order, at the latest with the next send" => more;
    "TCP_CORK": "tcp(7): held back, sent when taken out or after 200 ms" => cork;
    "TCP_NODELAY": "tcp(7): can be set and read back; bytes arrive at once" => no_delay;
    "writev": "writev(2): one buffer after another" => gathered;
    "sendmsg": "sendmsg(2): several buffers" => message;
    "sendmmsg": "sendmmsg(2): several writes in one call" => many_messages;
    "MSG_ZEROCOPY": "kernel networking/msg_zerocopy: every send is completed on the error queue"
        => zero_copy, may_be_left();
    "MSG_EOR": "send(2): of no effect on a stream" => end_of_record;
    "TCP_NOTSENT_LOWAT": "tcp(7): can be set; everything arrives" => not_sent;
};

fn more(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(1, 3000);
    for part in sent[..2900].chunks(100) {
        t.is("send", sys::send(&app, part, libc::MSG_MORE), Ok(100));
    }
    t.is("the last send", sys::send(&app, &sent[2900..], 0), Ok(100));
    t.bytes("Envoy reads", &envoy.take(3000)?, &sent);
    Ok(())
}

fn cork(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(2, 1000);
    sys::set(&app, libc::IPPROTO_TCP, libc::TCP_CORK, 1)?;
    for part in sent[..500].chunks(50) {
        app.put(part)?;
    }
    sys::set(&app, libc::IPPROTO_TCP, libc::TCP_CORK, 0)?;
    let started = Instant::now();
    t.bytes("when taken out", &envoy.take(500)?, &sent[..500]);
    t.took("at once", started, 0..=150);
    sys::set(&app, libc::IPPROTO_TCP, libc::TCP_CORK, 1)?;
    app.put(&sent[500..])?;
    t.bytes("after a while", &envoy.take(500)?, &sent[500..]);
    t.is(
        "TCP_CORK",
        sys::get(&app, libc::IPPROTO_TCP, libc::TCP_CORK),
        Ok(1),
    );
    Ok(())
}

fn no_delay(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    t.is(
        "at first",
        sys::get(&app, libc::IPPROTO_TCP, libc::TCP_NODELAY),
        Ok(0),
    );
    sys::set(&app, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    t.is(
        "set",
        sys::get(&app, libc::IPPROTO_TCP, libc::TCP_NODELAY),
        Ok(1),
    );
    let started = Instant::now();
    warm(t, &app, &envoy)?;
    app.put(b"one")?;
    app.put(b"two")?;
    t.bytes("Envoy reads", &envoy.take(6)?, b"onetwo");
    t.took("without delay", started, 0..=500);
    Ok(())
}

fn slices<'a>(bytes: &'a [u8], sizes: &[usize]) -> Vec<IoSlice<'a>> {
    let mut rest = bytes;
    let mut parts = Vec::new();
    for &size in sizes {
        let (part, behind) = rest.split_at(size);
        parts.push(IoSlice::new(part));
        rest = behind;
    }
    parts
}

fn gathered(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(3, 5000);
    t.is(
        "writev",
        nix::sys::uio::writev(&app, &slices(&sent, &[1, 0, 999, 4000])),
        Ok(5000),
    );
    t.bytes("Envoy reads", &envoy.take(5000)?, &sent);
    Ok(())
}

fn message(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(4, 5000);
    t.is(
        "sendmsg",
        sys::send_parts(&app, &slices(&sent, &[2500, 1, 0, 2499]), 0),
        Ok(5000),
    );
    t.bytes("Envoy reads", &envoy.take(5000)?, &sent);
    Ok(())
}

fn many_messages(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(5, 300);
    let parts: Vec<_> = sent.chunks(100).collect();
    t.is(
        "sendmmsg",
        sys::send_many(&app, &parts, 0),
        Ok(vec![100, 100, 100]),
    );
    t.bytes("Envoy reads", &envoy.take(300)?, &sent);
    Ok(())
}

/// Waits for completions up to number `last`; the highest number completed.
fn completed(app: &End, last: u32) -> Got<u32> {
    loop {
        app.ready(PollFlags::POLLERR)?;
        let mut none = [0; 1];
        let parts = &mut [IoSliceMut::new(&mut none)];
        let got = sys::recv_parts(app, parts, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT)?;
        // struct sock_extended_err of linux/errqueue.h: ee_data is the highest number.
        let data = got
            .controls
            .first()
            .and_then(|c| c.data.get(12..16))
            .ok_or(Errno::EBADMSG)?;
        let highest = u32::from_ne_bytes(data.try_into().map_err(|_| Errno::EBADMSG)?);
        if highest >= last {
            return Ok(highest);
        }
    }
}

pub(super) fn zero_copy(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    sys::set(&app, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1)?;
    warm(t, &app, &envoy)?;
    complete(t, &app, &envoy)
}

/// Four sends, all of which are completed; `SO_ZEROCOPY` is set.
pub(super) fn complete(t: &mut Scene, writer: &End, reader: &End) -> Result<()> {
    let sent = pattern::bytes(6, 40_000);
    for part in sent.chunks(10_000) {
        t.is(
            "send",
            sys::send(writer, part, libc::MSG_ZEROCOPY),
            Ok(10_000),
        );
    }
    t.bytes("the peer reads", &reader.take(40_000)?, &sent);
    t.is("completions", completed(writer, 3), Ok(3));
    Ok(())
}

fn end_of_record(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    t.is("send", sys::send(&app, b"record", libc::MSG_EOR), Ok(6));
    t.is("send", sys::send(&app, b"record", libc::MSG_EOR), Ok(6));
    t.bytes("Envoy reads", &envoy.take(12)?, b"recordrecord");
    Ok(())
}

fn not_sent(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    sys::set(&app, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, 4096)?;
    let sent = pattern::bytes(7, 200_000);
    let (wrote, read) = beside(
        || app.put(&sent),
        || {
            std::thread::sleep(Duration::from_millis(50));
            Ok(envoy.take(200_000)?)
        },
    )?;
    t.is("the writer", wrote, Ok(()));
    t.bytes("Envoy reads", &read, &sent);
    Ok(())
}
