//! Options and facts of an established connection.

use anyhow::Result;
use nix::Error as Errno;

use super::closing::{warm, warmed};
use crate::case::Case;
use crate::scene::{Scene, Setup, Unavailable, pause};
use crate::sys;
use crate::variant::{Kind, Role};

pub(super) const CASES: &[Case] = cases! {
    "addresses": "getsockname(2), getpeername(2): the two ends agree" => addresses, every_family();
    "TCP_INFO": "tcp(7): state, options and queues of the connection" => info;
    "TCP_INFO bytes": "tcp(7): bytes sent and received are counted" => info_bytes, may_be_left();
    "options read back": "getsockopt(2): what setsockopt(2) set" => read_back;
    "TCP_QUICKACK": "tcp(7): can be set; bytes go on" => quick_ack;
    "TCP_CONGESTION": "tcp(7): can be changed in mid-stream; bytes go on" => congestion;
    "listener's options": "socket(7): accepted sockets inherit them" => inherited, only(Kind::SERVERS);
    "kTLS": "kernel networking/tls: after the set-up records, not bytes, are sent" => tls, may_be_left();
};

fn addresses(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    let own = app.socket().local_addr()?.as_socket();
    let peer = app.socket().peer_addr()?.as_socket();
    let plain = |address: Option<std::net::SocketAddr>| {
        address.map(|address| (address.ip().to_canonical(), address.port()))
    };
    let others = (
        envoy.socket().peer_addr()?.as_socket(),
        envoy.socket().local_addr()?.as_socket(),
    );
    t.is(
        "both agree",
        (plain(own), plain(peer)) == (plain(others.0), plain(others.1)),
        true,
    );
    let port = if t.role() == Role::Server { own } else { peer }.map(|address| address.port());
    let dialled = Some(t.target().port());
    t.is("the port", port == dialled, true);
    Ok(())
}

const TCP: i32 = libc::IPPROTO_TCP;

fn info(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    pause(300);
    let info = sys::tcp_info(&app)?;
    // TCP_ESTABLISHED of net/tcp_states.h.
    t.is("state", info.state, 1);
    t.is(
        "nothing is on its way",
        (info.unacked, info.retransmits),
        (0, 0),
    );
    t.is(
        "segment sizes",
        info.segment_sizes.iter().all(|&size| size > 0),
        true,
    );
    t.is("a round trip below 1 s", info.rtt < 1_000_000, true);
    t.is("a window", info.cwnd > 0, true);
    envoy.shutdown(std::net::Shutdown::Write)?;
    pause(50);
    // TCP_CLOSE_WAIT.
    t.is("state after the peer's end", sys::tcp_info(&app)?.state, 8);
    Ok(())
}

fn info_bytes(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    let before = sys::tcp_info(&app)?;
    warm(t, &app, &envoy)?;
    pause(300);
    let info = sys::tcp_info(&app)?;
    t.is(
        "bytes acknowledged",
        info.bytes_acked - before.bytes_acked,
        150,
    );
    t.is(
        "bytes received",
        info.bytes_received - before.bytes_received,
        150,
    );
    Ok(())
}

fn read_back(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    for (what, level, option, value) in [
        ("SO_KEEPALIVE", libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
        ("SO_PRIORITY", libc::SOL_SOCKET, libc::SO_PRIORITY, 3),
        ("SO_MARK", libc::SOL_SOCKET, libc::SO_MARK, 0),
        ("TCP_NODELAY", TCP, libc::TCP_NODELAY, 1),
        ("TCP_SYNCNT", TCP, libc::TCP_SYNCNT, 4),
        ("TCP_LINGER2", TCP, libc::TCP_LINGER2, 30),
        ("IP_TOS", libc::IPPROTO_IP, libc::IP_TOS, 16),
        ("IP_TTL", libc::IPPROTO_IP, libc::IP_TTL, 33),
    ] {
        t.is(what, sys::set(&app, level, option, value), Ok(()));
        t.is(what, sys::get(&app, level, option), Ok(value));
    }
    t.is(
        "SO_TYPE",
        sys::get(&app, libc::SOL_SOCKET, libc::SO_TYPE),
        Ok(libc::SOCK_STREAM),
    );
    t.is(
        "SO_PROTOCOL",
        sys::get(&app, libc::SOL_SOCKET, libc::SO_PROTOCOL),
        Ok(TCP),
    );
    t.is(
        "SO_ACCEPTCONN",
        sys::get(&app, libc::SOL_SOCKET, libc::SO_ACCEPTCONN),
        Ok(0),
    );
    warm(t, &app, &envoy)
}

fn quick_ack(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    for value in [0, 1] {
        t.is(
            "set",
            sys::set(&app, TCP, libc::TCP_QUICKACK, value),
            Ok(()),
        );
        warm(t, &app, &envoy)?;
    }
    Ok(())
}

fn congestion(t: &mut Scene) -> Result<()> {
    let (app, envoy) = warmed(t)?;
    t.is(
        "set",
        sys::set_bytes(&app, TCP, libc::TCP_CONGESTION, b"reno"),
        Ok(()),
    );
    let name = sys::get_bytes(&app, TCP, libc::TCP_CONGESTION, 16)?;
    t.is("read back", name.starts_with(b"reno\0"), true);
    warm(t, &app, &envoy)
}

fn inherited(t: &mut Scene) -> Result<()> {
    let setup = Setup {
        app: &|socket| {
            sys::set(socket, TCP, libc::TCP_NODELAY, 1)?;
            sys::set(socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
            sys::set(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, 50_000)
        },
        ..Setup::prepared()
    };
    let (app, envoy) = t.connect_with(&setup)?;
    t.is("TCP_NODELAY", sys::get(&app, TCP, libc::TCP_NODELAY), Ok(1));
    t.is(
        "SO_KEEPALIVE",
        sys::get(&app, libc::SOL_SOCKET, libc::SO_KEEPALIVE),
        Ok(1),
    );
    t.is(
        "SO_RCVBUF",
        sys::get(&app, libc::SOL_SOCKET, libc::SO_RCVBUF),
        Ok(100_000),
    );
    warm(t, &app, &envoy)
}

/// `struct tls12_crypto_info_aes_gcm_128` of linux/tls.h: TLS 1.2, AES-GCM-128, keys of zeros.
fn tls_keys() -> Vec<u8> {
    let mut info = 0x0303_u16.to_ne_bytes().to_vec();
    info.extend(51_u16.to_ne_bytes());
    info.extend([0; 8 + 16 + 4 + 8]);
    info
}

/// `SOL_TLS` and `TLS_TX` of linux/tls.h.
const SOL_TLS: i32 = 282;

const TLS_TX: i32 = 1;

pub(super) fn tls(t: &mut Scene) -> Result<()> {
    let (app, envoy) = t.connect()?;
    match sys::set_bytes(&app, TCP, libc::TCP_ULP, b"tls") {
        Err(Errno::ENOENT) => return Err(Unavailable("it has no kTLS (CONFIG_TLS)").into()),
        set => t.is("TCP_ULP", set, Ok(())),
    }
    warm(t, &app, &envoy)?;
    t.is(
        "TLS_TX",
        sys::set_bytes(&app, SOL_TLS, TLS_TX, &tls_keys()),
        Ok(()),
    );
    app.put(b"secret")?;
    // 5 bytes of header, 8 of explicit nonce, the bytes, 16 of tag.
    let record = envoy.take(5 + 8 + 6 + 16)?;
    t.bytes("the record's header", &record[..5], &[23, 3, 3, 0, 30]);
    t.is(
        "the bytes are hidden",
        record.windows(6).any(|part| part == b"secret"),
        false,
    );
    Ok(())
}
