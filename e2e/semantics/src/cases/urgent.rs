//! Urgent data.

use anyhow::Result;
use nix::poll::PollFlags;

use super::closing::warmed;
use crate::case::Case;
use crate::end::End;
use crate::scene::{Scene, pause};
use crate::sys::{self};

pub(super) const CASES: &[Case] = cases! {
    "MSG_OOB received": "tcp(7): one urgent byte beside the stream, SIOCATMARK" => urgent, may_be_left();
    "MSG_OOB sent": "tcp(7): the peer gets one urgent byte beside the stream" => urgent_sent, may_be_left();
    "SO_OOBINLINE": "socket(7): the urgent byte stays in the stream" => urgent_inline, may_be_left();
};

/// Reads the bytes around an urgent one, which both ends' kernels agree on.
fn around(t: &mut Scene, reader: &End) -> Result<()> {
    t.is(
        "poll",
        reader.ready(PollFlags::POLLPRI)?,
        PollFlags::POLLPRI,
    );
    t.is("at the mark", sys::pending(reader, SIOCATMARK), Ok(0));
    let mut byte = [0; 10];
    let got = sys::recv(reader, &mut byte, libc::MSG_OOB);
    t.is(
        "the urgent byte",
        got.map(|n| byte[..n].to_vec()),
        Ok(b"!".to_vec()),
    );
    t.bytes("up to the mark", &reader.take(6)?, b"before");
    t.is("at the mark", sys::pending(reader, SIOCATMARK), Ok(1));
    t.bytes("behind it", &reader.take(5)?, b"after");
    Ok(())
}

/// `SIOCATMARK` of asm-generic/sockios.h.
const SIOCATMARK: libc::Ioctl = 0x8905;

/// Bytes, an urgent byte, bytes.
fn send_urgent(t: &mut Scene, writer: &End) -> Result<()> {
    writer.put(b"before")?;
    t.is(
        "send MSG_OOB",
        sys::send(writer, b"!", libc::MSG_OOB),
        Ok(1),
    );
    writer.put(b"after")?;
    pause(50);
    Ok(())
}

fn urgent(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    send_urgent(t, &envoy)?;
    around(t, &app)
}

pub(super) fn urgent_sent(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    send_urgent(t, &app)?;
    around(t, &envoy)
}

fn urgent_inline(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    sys::set(&app, libc::SOL_SOCKET, libc::SO_OOBINLINE, 1)?;
    send_urgent(t, &envoy)?;
    t.bytes("up to the mark", &app.take_by(6, 6)?, b"before");
    t.is("at the mark", sys::pending(&app, SIOCATMARK), Ok(1));
    t.bytes("the rest", &app.take(6)?, b"!after");
    Ok(())
}
