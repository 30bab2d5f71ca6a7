//! What the kernel tells of what waits.

use anyhow::Result;
use sockway_testkit::pattern;

use super::vectors::controls;
use crate::case::Case;
use crate::end::End;
use crate::scene::{Scene, pause};
use crate::sys::{self};

pub(super) const CASES: &[Case] = cases! {
    "SO_PEEK_OFF": "socket(7): each peek goes on behind the last, where TCP has it" => peek_offset, may_be_left();
    "FIONREAD": "tcp(7) SIOCINQ: how many bytes wait to be read" => unread, may_be_left();
    "SIOCOUTQ": "tcp(7): nothing waits to be sent once all is acknowledged" => unsent;
    "TCP_INQ": "linux/tcp.h: recvmsg tells how many bytes are left" => inquire, may_be_left();
};

fn peek_offset(t: &mut Scene) -> Result<()> {
    let ends = t.connect()?;
    peek_on(t, &ends, 0)
}

/// `SO_PEEK_OFF` of the first end, so many milliseconds before bytes come.
pub(super) fn peek_on(t: &mut Scene, (app, envoy): &(End, End), before: u64) -> Result<()> {
    t.see("set", sys::set(app, libc::SOL_SOCKET, libc::SO_PEEK_OFF, 0));
    pause(before);
    let sent = pattern::bytes(3, 90);
    envoy.put(&sent)?;
    pause(50);
    for _ in 0..2 {
        let mut buffer = [0; 30];
        let got = app.recv(&mut buffer, libc::MSG_PEEK)?;
        let at = sent.windows(got).position(|part| part == &buffer[..got]);
        t.see("peek: bytes, offset", (got, at));
    }
    t.bytes("read", &app.take(90)?, &sent);
    Ok(())
}

fn unread(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let count = |app: &End| sys::pending(app, libc::FIONREAD);
    t.is("at first", count(&app), Ok(0));
    for total in [1000, 2000, 3000] {
        envoy.put(&pattern::bytes(7, 1000))?;
        pause(50);
        t.is(&format!("with {total} bytes"), count(&app), Ok(total));
    }
    app.take(1500)?;
    t.is("half read", count(&app), Ok(1500));
    app.take(1500)?;
    t.is("all read", count(&app), Ok(0));
    envoy.put(b"last")?;
    envoy.shutdown(std::net::Shutdown::Write)?;
    pause(50);
    t.is("before the end", count(&app), Ok(4));
    app.take(4)?;
    t.is("at the end", count(&app), Ok(0));
    Ok(())
}

fn unsent(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    t.is("at first", sys::pending(&app, libc::TIOCOUTQ), Ok(0));
    app.put(&pattern::bytes(8, 5000))?;
    envoy.take(5000)?;
    pause(300);
    t.is("all read", sys::pending(&app, libc::TIOCOUTQ), Ok(0));
    Ok(())
}

/// `TCP_INQ` and `TCP_CM_INQ` of linux/tcp.h.
const TCP_INQ: i32 = 36;

pub(super) fn inquire(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    sys::set(&app, libc::IPPROTO_TCP, TCP_INQ, 1)?;
    envoy.put(&pattern::bytes(12, 1000))?;
    pause(50);
    for left in [600_i32, 200, 0] {
        let (count, list) = controls(&app, &mut [0; 400])?;
        let want = vec![sys::Control {
            level: libc::IPPROTO_TCP,
            kind: TCP_INQ,
            data: left.to_ne_bytes().to_vec(),
        }];
        t.is(
            "recvmsg",
            (count, list),
            (if left == 0 { 200 } else { 400 }, want),
        );
    }
    Ok(())
}
