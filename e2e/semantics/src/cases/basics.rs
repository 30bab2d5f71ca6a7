//! Bytes arrive, all of them, once, in order.

use std::thread;

use anyhow::{Context as _, Result};
use sockway_testkit::pattern;

use crate::case::Case;
use crate::end::End;
use crate::pace;
use crate::scene::{Scene, Setup, beside, pause};
use crate::sys::{self, Got};
use crate::variant::Kind;

pub(super) const CASES: &[Case] = cases! {
    "echo": "RFC 9293: a stream arrives as it was sent" => echo, every_family();
    "echo 1 MiB": "RFC 9293: also when both ends send at once" => large;
    "speaks first": "RFC 9293: either end may send first" => speaks_first;
    "burst after connect": "RFC 9293: also before accept(2)" => burst;
    "many sends, one read": "recv(2): returns what is there, up to the buffer's size" => gather;
    "one send, many reads": "recv(2): what does not fit the buffer stays for the next read" => one_byte_reads;
    "zero length": "send(2), read(2): no bytes, no effect, no end of stream" => zero_length;
    "reader and writer": "a socket may be read and written by two threads at once" => full_duplex;
    "two readers": "two threads that read one socket share its bytes" => two_readers;
    "deferred accept": "tcp(7) TCP_DEFER_ACCEPT: accept(2) with the first data" => deferred, only(Kind::SERVERS);
    "idle": "RFC 9293: an idle connection stays" => idle, slow();
};

fn echo(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    for round in 0..20 {
        let sent = pattern::bytes(round, 100);
        envoy.put(&sent)?;
        let got = app.take(100)?;
        t.bytes("the application reads", &got, &sent);
        app.put(&got)?;
        t.bytes("Envoy reads", &envoy.take(100)?, &sent);
    }
    drop(envoy);
    t.is("at the end", app.rest(), (vec![], Ok(())));
    Ok(())
}

/// Sends back whatever comes until the stream's end; how much it was.
fn echo_all(app: &End) -> Got<usize> {
    let mut buffer = vec![0; 32 * 1024];
    let mut total = 0;
    loop {
        match app.recv(&mut buffer, 0)? {
            0 => return Ok(total),
            n => app.put(&buffer[..n])?,
        }
        total += 1;
    }
}

fn large(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(1, 1 << 20);
    let (ended, ()) = beside(
        || echo_all(&app),
        || {
            t.bytes("Envoy reads", &envoy.exchange(&sent, sent.len())?, &sent);
            Ok(envoy.shutdown(std::net::Shutdown::Write)?)
        },
    )?;
    t.is("the application", ended.map(drop), Ok(()));
    Ok(())
}

fn speaks_first(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(2, 1000);
    app.put(&sent)?;
    t.bytes("Envoy reads", &envoy.take(1000)?, &sent);
    envoy.put(&sent)?;
    t.bytes("the application reads", &app.take(1000)?, &sent);
    Ok(())
}

fn burst(t: &mut Scene) -> Result<()> {
    for round in 0..10 {
        let listener = t.listen(&Setup::default())?;
        let active = t.dial(&Setup::default())?;
        let sent = pattern::bytes(round, 3000);
        for part in sent.chunks(300) {
            active.put(part)?;
        }
        let passive = t.accept(&listener)?;
        t.bytes("the accepting end reads", &passive.take(3000)?, &sent);
        passive.put(&sent)?;
        t.bytes("the connecting end reads", &active.take(3000)?, &sent);
    }
    Ok(())
}

fn gather(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(3, 4000);
    for part in sent.chunks(20) {
        envoy.put(part)?;
    }
    pause(50);
    let mut buffer = vec![0; 64 * 1024];
    let got = app.recv(&mut buffer, 0)?;
    t.bytes("one read", &buffer[..got], &sent);
    Ok(())
}

fn one_byte_reads(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(4, 5000);
    envoy.put(&sent)?;
    t.bytes("5000 reads", &app.take_by(5000, 1)?, &sent);
    Ok(())
}

fn zero_length(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    t.is("send of nothing", sys::send(&app, b"", 0), Ok(0));
    t.is("write of nothing", sys::write(&app, b""), Ok(0));
    t.is(
        "Envoy has nothing",
        sys::recv(&envoy, &mut [0; 8], 0),
        Err(nix::Error::EAGAIN),
    );
    t.is("Envoy sends nothing", sys::send(&envoy, b"", 0), Ok(0));
    envoy.put(b"ab")?;
    pause(50);
    t.is("recv into nothing", sys::recv(&app, &mut [], 0), Ok(0));
    t.is("read into nothing", sys::read(&app, &mut []), Ok(0));
    t.bytes("then", &app.take(2)?, b"ab");
    app.put(b"cd")?;
    t.bytes("and back", &envoy.take(2)?, b"cd");
    Ok(())
}

fn full_duplex(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let (up, down) = (pattern::bytes(5, 1 << 20), pattern::bytes(6, 1 << 20));
    let (read, wrote) = thread::scope(|scope| -> Result<_> {
        let reader = scope.spawn(|| app.take_by(up.len(), 7000));
        let writer = scope.spawn(|| app.put(&down));
        t.bytes("Envoy reads", &envoy.exchange(&up, down.len())?, &down);
        let read = reader.join().ok().context("the reader panicked")?;
        Ok((read, writer.join().ok().context("the writer panicked")?))
    })?;
    t.bytes("the reader", &read?, &up);
    t.is("the writer", wrote, Ok(()));
    Ok(())
}

/// How often each byte value is there: two readers share the bytes in any way.
fn histogram(parts: &[&[u8]]) -> Vec<usize> {
    let mut counts = vec![0; 256];
    for &byte in parts.iter().copied().flatten() {
        counts[usize::from(byte)] += 1;
    }
    counts
}

fn two_readers(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(7, 200_000);
    let (first, second) = thread::scope(|scope| -> Result<_> {
        let readers = [scope.spawn(|| app.rest()), scope.spawn(|| app.rest())];
        for part in sent.chunks(1000) {
            envoy.put(part)?;
        }
        envoy.shutdown(std::net::Shutdown::Write)?;
        let [first, second] = readers.map(|reader| reader.join().ok().context("a reader panicked"));
        Ok((first?, second?))
    })?;
    t.is("the readers ended", (first.1, second.1), (Ok(()), Ok(())));
    t.is("bytes read", first.0.len() + second.0.len(), sent.len());
    let shared = histogram(&[&first.0, &second.0]) == histogram(&[&sent]);
    t.is("every byte once", shared, true);
    Ok(())
}

fn deferred(t: &mut Scene) -> Result<()> {
    let setup = Setup {
        app: &|socket| sys::set(socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 10),
        ..Setup::prepared()
    };
    let listener = t.listen(&setup)?;
    for round in 0..10 {
        let envoy = t.dial(&setup)?;
        let sent = pattern::bytes(round, 800);
        for part in sent.chunks(100) {
            envoy.put(part)?;
        }
        let app = t.accept(&listener)?;
        t.bytes("the application reads", &app.take(800)?, &sent);
        app.put(&sent)?;
        t.bytes("Envoy reads", &envoy.take(800)?, &sent);
    }
    Ok(())
}

fn idle(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let sent = pattern::bytes(8, 100);
    envoy.put(&sent)?;
    std::thread::sleep(pace::idle());
    t.bytes("read after a while", &app.take(100)?, &sent);
    app.put(&sent)?;
    std::thread::sleep(pace::idle());
    t.bytes("Envoy reads after a while", &envoy.take(100)?, &sent);
    Ok(())
}
