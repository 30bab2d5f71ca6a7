//! One socket in several processes.

use anyhow::Result;
use nix::sys::signal::Signal;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use sockway_testkit::pattern;

use super::closing::{warm, warmed};
use crate::case::Case;
use crate::end::End;
use crate::scene::{Scene, pause};
use crate::sys::{self, Got};

pub(super) const CASES: &[Case] = cases! {
    "fork, both read": "fork(2): both processes share the stream" => fork_reads;
    "fork, both write": "fork(2): whole sends of both arrive" => fork_writes;
    "fork, the parent closes": "close(2): the connection ends with the last descriptor" => fork_closes;
    "SCM_RIGHTS": "unix(7): another process goes on where the first stopped" => passed;
    "dup": "dup(2): all descriptors are the same socket" => duplicated;
    "killed in mid-stream": "exit(3): the kernel closes; what was sent arrives, then the end" => killed;
    "killed with unread data": "RFC 1122 4.2.2.13: the kernel closes, the peer sees a reset" => killed_unread;
};

/// The next `count` bytes of a pattern, read by another process that shares `app`.
fn child_takes(app: &End, want: &[u8]) -> Got<sys::Forked> {
    sys::fork(|| i32::from(app.take(want.len()).is_ok_and(|got| got == want)))
}

fn fork_reads(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    let sent = pattern::bytes(1, 3000);
    for part in sent.chunks(1000) {
        envoy.put(&part[..500])?;
        t.bytes("the parent reads", &app.take(500)?, &part[..500]);
        let child = child_takes(&app, &part[500..])?;
        pause(50);
        envoy.put(&part[500..])?;
        t.is("the child reads", child.wait(), Ok(1));
    }
    Ok(())
}

fn fork_writes(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    let child = sys::fork(|| {
        let sends = (0..50).map(|_| app.put(&[b'c'; 100]));
        i32::from(sends.collect::<Got<Vec<()>>>().is_ok())
    })?;
    for _ in 0..50 {
        app.put(&[b'p'; 100])?;
    }
    t.is("the child", child.wait(), Ok(1));
    let got = envoy.take(10_000)?;
    t.is("bytes", got.len(), 10_000);
    let whole = |part: &[u8]| part.iter().all(|&byte| byte == part[0]);
    t.is("whole sends", got.chunks(100).all(whole), true);
    t.is(
        "of the child",
        got.chunks(100).filter(|part| part[0] == b'c').count(),
        50,
    );
    Ok(())
}

fn fork_closes(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    let child = sys::fork(|| {
        pause(150);
        i32::from(app.put(b"from the child").is_ok())
    })?;
    drop(app);
    t.bytes("Envoy reads", &envoy.take(14)?, b"from the child");
    t.is("the child", child.wait(), Ok(1));
    t.is("then the end", envoy.rest(), (vec![], Ok(())));
    Ok(())
}

fn passed(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    let sent = pattern::bytes(2, 2000);
    envoy.put(&sent[..1500])?;
    t.bytes("the first process reads", &app.take(1000)?, &sent[..1000]);
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::Stream,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?;
    let style = app.style();
    let second = sys::fork(|| {
        let work = || -> Got<bool> {
            let app = End::from_fd(sys::receive_descriptor(&theirs)?, style);
            let got = app.take(1000)?;
            app.put(b"thanks")?;
            Ok(got == sent[1000..])
        };
        i32::from(work() == Ok(true))
    })?;
    sys::send_descriptor(&ours, &app)?;
    drop(app);
    envoy.put(&sent[1500..])?;
    t.bytes("Envoy reads", &envoy.take(6)?, b"thanks");
    t.is("the second process", second.wait(), Ok(1));
    t.is("then the end", envoy.rest(), (vec![], Ok(())));
    Ok(())
}

fn duplicated(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let other = app.dup()?;
    warm(t, &app, &envoy)?;
    warm(t, &other, &envoy)?;
    envoy.put(b"abcdef")?;
    t.bytes("one", &app.take(3)?, b"abc");
    t.bytes("the other", &other.take(3)?, b"def");
    drop(app);
    warm(t, &other, &envoy)?;
    drop(other);
    t.is("then the end", envoy.rest(), (vec![], Ok(())));
    Ok(())
}

fn killed(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    let sent = pattern::bytes(3, 16 << 20);
    let child = sys::fork(|| i32::from(app.put(&sent).is_ok()))?;
    drop(app);
    t.bytes("Envoy reads some", &envoy.take(200_000)?, &sent[..200_000]);
    child.signal(Signal::SIGKILL)?;
    t.is("it was killed", child.wait(), Ok(-1));
    let (rest, end) = envoy.rest();
    t.is(
        "the rest is as sent",
        sent[200_000..].starts_with(&rest),
        true,
    );
    t.is("then the end", end, Ok(()));
    Ok(())
}

fn killed_unread(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    let child = sys::fork(|| {
        pause(5000);
        0
    })?;
    drop(app);
    envoy.put(b"never read")?;
    pause(150);
    child.signal(Signal::SIGKILL)?;
    t.is("it was killed", child.wait(), Ok(-1));
    t.is(
        "Envoy reads",
        envoy.rest(),
        (vec![], Err(nix::Error::ECONNRESET)),
    );
    Ok(())
}
