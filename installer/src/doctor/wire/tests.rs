//! Bytes in and out of their places.

use super::{Wire, fill};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

fn open() -> Wire {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let SocketAddr::V4(to) = listener.local_addr().unwrap() else {
        panic!("no IPv4 address");
    };
    Wire::open(&listener, Ipv4Addr::LOCALHOST, to, false).unwrap()
}

#[test]
fn plain_tcp_holds() {
    let mut wire = open();
    wire.ping_pong(10, 1000).unwrap();
    let taken = wire.client.stuff(4096, 64 << 20).unwrap();
    assert!(taken < 64 << 20, "{taken} bytes");
    wire.server
        .receive(usize::try_from(taken).unwrap())
        .unwrap();
    wire.client.finish().unwrap();
    wire.client.sends_no_more().unwrap();
    wire.server.ends().unwrap();
    wire.server.send(100).unwrap();
    wire.client.receive(100).unwrap();
}

#[test]
fn bytes_out_of_place_are_found() {
    let mut wire = open();
    // As if two messages had passed each other.
    wire.client.sent = 8;
    wire.client.send(8).unwrap();
    let error = wire.server.receive(8).unwrap_err().to_string();
    assert!(error.contains("byte 0"), "{error}");
    let mut wire = open();
    wire.client.send(5).unwrap();
    wire.client.finish().unwrap();
    assert!(
        wire.server
            .receive(6)
            .unwrap_err()
            .to_string()
            .contains("1 bytes early")
    );
}

#[test]
fn places_look_different() {
    let (mut a, mut b) = ([0; 64], [0; 64]);
    for step in [1, 4, 64, 1024, 16_384, 65_536, 1 << 20] {
        fill(&mut a, 0);
        fill(&mut b, step);
        assert_ne!(a, b, "{step}");
    }
}
