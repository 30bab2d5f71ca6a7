//! Both ends over socket pairs with something between them that tampers: what
//! an accelerator could do wrong must be seen, and nothing else.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use fastrand::Rng;

use super::end::{Buffers, End};
use super::fault::Fault;
use super::plan::{Ending, Kind, Plan, Shapes};

/// Turns after which a conversation that goes nowhere is given up.
const TURNS: usize = 20_000;

/// Passes bytes from one socket on to another, changed by `tamper`.
fn relay(from: &mut UnixStream, to: &mut UnixStream, tamper: &mut dyn FnMut(&mut Vec<u8>)) {
    let mut bytes = vec![0; 4096];
    match from.read(&mut bytes) {
        Ok(0) => drop(to.shutdown(Shutdown::Write)),
        Ok(n) => {
            bytes.truncate(n);
            tamper(&mut bytes);
            to.set_nonblocking(false).expect("a socket pair");
            // The other end may have given up already.
            drop(to.write_all(&bytes));
            to.set_nonblocking(true).expect("a socket pair");
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
    }
}

/// Plays a plan; the first fault of either end, or `None` where both end well.
fn converse(plan: &Plan, said: Option<u64>, tamper: &mut dyn FnMut(&mut Vec<u8>)) -> Option<Fault> {
    let (mut client, mut near) = UnixStream::pair().expect("a socket pair");
    let (mut far, mut server) = UnixStream::pair().expect("a socket pair");
    for socket in [&client, &near, &far, &server] {
        socket.set_nonblocking(true).expect("a socket pair");
    }
    let mut ends = [End::client(plan.clone(), said.is_some()), End::server(said)];
    let mut over = [false; 2];
    let mut buffers = Buffers::default();
    for _ in 0..TURNS {
        for (index, socket) in [&mut client, &mut server].into_iter().enumerate() {
            if over[index] {
                continue;
            }
            ends[index].writable();
            match ends[index].pump(socket, &mut buffers) {
                Ok(done) => over[index] = done,
                Err(fault) => return Some(fault),
            }
            if over[index] {
                drop(socket.shutdown(Shutdown::Both));
            }
        }
        if over == [true; 2] {
            return None;
        }
        relay(&mut near, &mut far, tamper);
        relay(&mut far, &mut near, &mut |_| {});
    }
    Some(Fault::Hang(0))
}

fn plans() -> impl Iterator<Item = Plan> {
    let mut rng = Rng::with_seed(11);
    let shapes = Shapes {
        kinds: vec![
            Kind::Rounds,
            Kind::Burst,
            Kind::ClientHalfClose,
            Kind::ServerHalfClose,
        ],
        sizes: (1, 20_000),
        turns: 16,
        endings: Ending::ALL.to_vec(),
    };
    (0..24).map(move |_| Plan::random(&mut rng, &shapes))
}

#[test]
fn every_plan_ends_well_when_nothing_is_wrong() {
    for (index, plan) in plans().enumerate() {
        let said = (index % 2 == 0).then_some(index as u64 + 1);
        let fault = converse(&plan, said, &mut |_| {});
        assert!(
            fault.is_none(),
            "{plan:?}: {}",
            fault.map(|f| f.to_string()).unwrap_or_default()
        );
    }
}

/// Tampers with the first stretch that is long enough.
fn caught(what: &str, change: fn(&mut Vec<u8>)) {
    let mut tampered = 0;
    for plan in plans() {
        let mut done = false;
        let fault = converse(&plan, None, &mut |bytes| {
            if !done && bytes.len() >= 64 {
                change(bytes);
                done = true;
            }
        });
        tampered += usize::from(done);
        assert_eq!(fault.is_some(), done, "{what}: {plan:?}");
    }
    assert!(
        tampered > 12,
        "{what}: only {tampered} plans were long enough"
    );
}

#[test]
fn one_changed_bit_is_caught() {
    caught("bit", |bytes| bytes[60] ^= 4);
}

#[test]
fn a_lost_end_is_caught() {
    caught("lost", |bytes| bytes.truncate(30));
}

#[test]
fn a_lost_byte_is_caught() {
    caught("byte", |bytes| {
        bytes.remove(30);
    });
}

#[test]
fn a_doubled_stretch_is_caught() {
    caught("doubled", |bytes| bytes.extend_from_within(40..));
}

#[test]
fn stretches_out_of_order_are_caught() {
    caught("order", |bytes| bytes.rotate_left(32));
}

#[test]
fn the_greeting_of_another_connection_is_caught() {
    let plan = plans().next().expect("there are plans");
    let other = super::rx::greeting(99);
    let (client, mut server) = UnixStream::pair().expect("a socket pair");
    client.set_nonblocking(true).expect("a socket pair");
    server.set_nonblocking(true).expect("a socket pair");
    let mut buffers = Buffers::default();
    let mut asking = End::client(plan, true);
    server.write_all(&other).expect("fits");
    asking
        .pump(&mut &client, &mut buffers)
        .expect("a greeting is a greeting");
    let mut answering = End::server(Some(7));
    let fault = answering
        .pump(&mut server, &mut buffers)
        .expect_err("it said 7, not 99");
    assert!(
        matches!(fault, Fault::Greeting { heard: 99, said: 7 }),
        "{fault}"
    );
}
