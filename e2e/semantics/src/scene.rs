//! What a case is given: connections of the kind under test, and a place for what it sees.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::poll::PollFlags;
use socket2::{Domain, Protocol, Socket, Type};
use sockway_common::counters::Reason;
use sockway_common::end::EndRow;
use sockway_common::pod::{DEFAULT_INBOUND_PORT, DEFAULT_OUTBOUND_PORT};
use sockway_common::scope;
use sockway_datapath::{Pins, Registry, stats};
use sockway_testkit::pattern;

use crate::end::End;
use crate::facts::Facts;
use crate::node;
use crate::pace;
use crate::place::{ENVOY_V4, ENVOY_V6, Pod};
use crate::sys::{self, Got, errno};
use crate::variant::{Family, Hop, Kind, Role, Style};

/// Where the application listens.
const APPLICATION_PORT: u16 = 8080;
/// How long a connection may take to come in late.
const LATE: Duration = Duration::from_secs(4);
/// Bytes of one message before a case begins.
const MESSAGE: usize = 64;

/// Waits so many milliseconds, for something to happen or be done elsewhere.
pub(crate) fn pause(ms: u64) {
    std::thread::sleep(pace::allow(Duration::from_millis(ms)));
}

/// Does `other` in a thread of its own while `here` goes on; what both came to.
pub(crate) fn beside<A: Send, B>(
    other: impl FnOnce() -> A + Send,
    here: impl FnOnce() -> Result<B>,
) -> Result<(A, B)> {
    std::thread::scope(|scope| {
        let other = scope.spawn(other);
        let here = here()?;
        Ok((
            other.join().ok().context("the other thread panicked")?,
            here,
        ))
    })
}

/// Does `wait` while `end` sends after a while.
pub(crate) fn meanwhile<T>(end: &End, bytes: &[u8], wait: impl FnOnce() -> T) -> Result<T> {
    let sends = || {
        pause(150);
        end.put(bytes)
    };
    let (sent, result) = beside(sends, || Ok(wait()))?;
    sent?;
    Ok(result)
}

/// Why a case cannot be run on this kernel.
#[derive(Debug)]
pub(crate) struct Unavailable(pub(crate) &'static str);

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Unavailable {}

/// What is done to the sockets before they listen or connect.
pub(crate) struct Setup<'a> {
    /// To the application's.
    pub(crate) app: &'a dyn Fn(&Socket) -> Got<()>,
    /// To Envoy's.
    pub(crate) envoy: &'a dyn Fn(&Socket) -> Got<()>,
    /// The protocol of the application's socket.
    pub(crate) protocol: Protocol,
    /// Something is done at all.
    pub(crate) prepared: bool,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            app: &|_| Ok(()),
            envoy: &|_| Ok(()),
            protocol: Protocol::TCP,
            prepared: false,
        }
    }
}

impl Setup<'_> {
    /// Nothing yet; for struct update syntax.
    pub(crate) fn prepared() -> Self {
        Self {
            prepared: true,
            ..Self::default()
        }
    }
}

/// Sends a message and has it sent back; a non-blocking end asks for more before it waits.
pub(crate) fn echo(a: &End, b: &End, number: u64) -> Result<()> {
    let bytes = pattern::bytes(number, MESSAGE);
    for (from, to) in [(a, b), (b, a)] {
        from.put(&bytes).context("send a message")?;
        let got = to.take(MESSAGE).context("read a message")?;
        if got != bytes {
            bail!("not what was sent came");
        }
        if to.style() == Style::NonBlocking {
            match sys::recv(to, &mut [0; 1], libc::MSG_DONTWAIT) {
                Err(Errno::EAGAIN) => {}
                other => bail!("more than what was sent came: {other:?}"),
            }
        }
    }
    Ok(())
}

/// A listening socket that outlives its connections, as a program's does: what is known of a
/// program that accepts is kept by it.
struct Listener {
    socket: Socket,
    /// It was prepared by the case.
    prepared: bool,
}

/// The world of one run.
pub(crate) struct Scene {
    kind: Kind,
    hop: Hop,
    family: Family,
    pod: Pod,
    facts: Facts,
    listener: RefCell<Option<Listener>>,
    /// Where the maps are, if connections are brought in after they were opened.
    late: Option<Pins>,
    came_in: Cell<u64>,
}

impl Deref for Scene {
    type Target = Facts;

    fn deref(&self) -> &Facts {
        &self.facts
    }
}

impl DerefMut for Scene {
    fn deref_mut(&mut self) -> &mut Facts {
        &mut self.facts
    }
}

impl Scene {
    /// A scene in the namespace that [`crate::place::enter`] made.
    pub(crate) fn new(kind: Kind, hop: Hop, family: Family, pod: Pod, facts: Facts) -> Self {
        Self {
            kind,
            hop,
            family,
            pod,
            facts,
            listener: RefCell::default(),
            late: None,
            came_in: Cell::new(0),
        }
    }

    /// From now on, what [`Self::connect_with`] connects is left alone by the programs
    /// until it is established, and brought in then.
    pub(crate) fn bring_in_late(&mut self, pins: Pins) {
        self.late = Some(pins);
    }

    /// How many connections were brought in late.
    pub(crate) fn came_in(&self) -> u64 {
        self.came_in.get()
    }

    /// Goes on with other facts.
    pub(crate) fn swap_facts(&mut self, facts: Facts) {
        self.facts = facts;
    }

    /// The application's role.
    pub(crate) fn role(&self) -> Role {
        self.kind.role
    }

    /// The application's style.
    pub(crate) fn style(&self) -> Style {
        self.kind.style
    }

    /// True for applications that wait in `poll`.
    pub(crate) fn nonblocking(&self) -> bool {
        self.kind.style == Style::NonBlocking
    }

    /// A connection; the application's end first.
    pub(crate) fn connect(&self) -> Result<(End, End)> {
        self.connect_with(&Setup::default())
    }

    /// A connection of sockets that were prepared; the application's end first.
    pub(crate) fn connect_with(&self, setup: &Setup<'_>) -> Result<(End, End)> {
        self.set_scope(scope::OFF)?;
        let listener = self.listen(setup)?;
        let active = self.dial(setup)?;
        let passive = self.accept(&listener)?;
        self.set_scope(scope::AUTO)?;
        if let Some(pins) = &self.late {
            self.wait_for(pins, &active, &passive)?;
        }
        Ok(self.ends(active, passive))
    }

    /// Uses a connection until both ends have come in, or it is known that they will not.
    fn wait_for(&self, pins: &Pins, active: &End, passive: &End) -> Result<()> {
        let cookies = [sys::cookie(active)?, sys::cookie(passive)?];
        let began = Instant::now();
        let mut message = 0;
        while began.elapsed() < pace::allow(LATE) {
            for _ in 0..4 {
                message += 1;
                echo(active, passive, message).context("before it comes in")?;
            }
            // Here it is seen at rest.
            std::thread::sleep(Duration::from_millis(5));
            let rows = stats::ends(pins).context("read the ends")?;
            let of = |cookie| {
                rows.iter()
                    .find(|(key, _)| *key == cookie)
                    .map(|(_, row)| row)
            };
            let is_in = |row: &EndRow| row.joined != 0 && row.open != 0;
            let stays = |row: &EndRow| row.joined == 0 && row.why != Reason::Observed as u32;
            match cookies.map(of) {
                [Some(a), Some(b)] if is_in(a) && is_in(b) => {
                    self.came_in.set(self.came_in.get() + 1);
                    // So that both directions are redirected by now.
                    for _ in 0..80 {
                        message += 1;
                        echo(active, passive, message).context("once it has come in")?;
                    }
                    return Ok(());
                }
                [Some(a), Some(b)] if message > 100 && (stays(a) || stays(b)) => return Ok(()),
                _ => {}
            }
        }
        Ok(())
    }

    /// Registers the pod anew, if connections are brought in late.
    fn set_scope(&self, scope: u32) -> Result<()> {
        match &self.late {
            Some(pins) => node::register(&mut Registry::open(pins)?, self.pod, scope),
            None => Ok(()),
        }
    }

    /// Which style the connecting end is used in.
    pub(crate) fn active_style(&self) -> Style {
        match self.role() {
            Role::Server => Style::NonBlocking,
            Role::Client => self.style(),
        }
    }

    /// Which style the accepting end is used in.
    fn passive_style(&self) -> Style {
        match self.role() {
            Role::Server => self.style(),
            Role::Client => Style::NonBlocking,
        }
    }

    fn loopback(&self) -> IpAddr {
        match self.family {
            Family::V4 => Ipv4Addr::LOCALHOST.into(),
            Family::V6 => Ipv6Addr::LOCALHOST.into(),
            Family::Mapped => Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
        }
    }

    fn pod(&self) -> IpAddr {
        match self.family {
            Family::V4 => self.pod.v4.into(),
            Family::V6 => self.pod.v6.into(),
            Family::Mapped => self.pod.v4.to_ipv6_mapped().into(),
        }
    }

    /// Where the passive end listens.
    fn listening_address(&self) -> SocketAddr {
        match (self.role(), self.family) {
            (Role::Server, Family::Mapped) => (Ipv6Addr::UNSPECIFIED, self.port()).into(),
            (Role::Client, Family::Mapped) => (Ipv4Addr::LOCALHOST, self.port()).into(),
            _ => self.target(),
        }
    }

    fn port(&self) -> u16 {
        match self.hop {
            Hop::App => APPLICATION_PORT,
            Hop::Outbound => DEFAULT_OUTBOUND_PORT,
            Hop::Inbound | Hop::SelfInbound => DEFAULT_INBOUND_PORT,
        }
    }

    /// What the active end dials.
    pub(crate) fn target(&self) -> SocketAddr {
        let ip = match (self.hop, self.role(), self.family) {
            (Hop::App | Hop::Inbound, Role::Server, Family::Mapped) => self.pod.v4.into(),
            (Hop::App | Hop::Inbound, ..) => self.pod(),
            (_, Role::Server, Family::Mapped) => Ipv4Addr::LOCALHOST.into(),
            _ => self.loopback(),
        };
        (ip, self.port()).into()
    }

    /// The active end's own address.
    pub(crate) fn source(&self) -> SocketAddr {
        let v6 = self.family == Family::V6;
        let ip = match self.hop {
            Hop::App if v6 => ENVOY_V6.into(),
            Hop::App => ENVOY_V4.into(),
            Hop::Inbound if v6 => self.pod.caller_v6.into(),
            Hop::Inbound => self.pod.caller_v4.into(),
            Hop::Outbound | Hop::SelfInbound => self.pod(),
        };
        (ip, 0).into()
    }

    fn prepare(setup: &Setup<'_>, app: bool, socket: &Socket) -> Result<()> {
        let prepare = if app { setup.app } else { setup.envoy };
        prepare(socket).context("prepare a socket")
    }

    /// The passive end's listening socket, in its owner's style: the same for all connections of a
    /// run, but those before the first that is prepared.
    pub(crate) fn listen(&self, setup: &Setup<'_>) -> Result<Socket> {
        let mut kept = self.listener.borrow_mut();
        if kept
            .as_ref()
            .is_some_and(|kept| setup.prepared && !kept.prepared)
        {
            *kept = None;
        }
        let listener = match kept.take() {
            Some(listener) => listener,
            None => Listener {
                socket: self.new_listener(setup)?,
                prepared: setup.prepared,
            },
        };
        let same = listener.socket.try_clone().context("dup")?;
        *kept = Some(listener);
        Ok(same)
    }

    /// A listening socket that is closed with what is returned.
    pub(crate) fn listen_alone(&self) -> Result<Socket> {
        self.close_listener();
        self.new_listener(&Setup::default())
    }

    /// Connections that a case left in its queue must not be taken for others.
    pub(crate) fn close_listener(&self) {
        self.listener.replace(None);
    }

    fn new_listener(&self, setup: &Setup<'_>) -> Result<Socket> {
        let (at, app) = (self.listening_address(), self.role() == Role::Server);
        let protocol = if app { setup.protocol } else { Protocol::TCP };
        let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(protocol))?;
        socket.set_reuse_address(true)?;
        Self::prepare(setup, app, &socket)?;
        socket
            .bind(&at.into())
            .with_context(|| format!("bind {at}"))?;
        socket.listen(128)?;
        socket.set_nonblocking(self.passive_style() == Style::NonBlocking)?;
        Ok(socket)
    }

    /// The active end's socket, not connected yet, in its owner's style.
    pub(crate) fn unconnected(&self, setup: &Setup<'_>) -> Result<Socket> {
        let (from, app) = (self.source(), self.role() == Role::Client);
        let protocol = if app { setup.protocol } else { Protocol::TCP };
        let socket = Socket::new(Domain::for_address(from), Type::STREAM, Some(protocol))?;
        Self::prepare(setup, app, &socket)?;
        socket
            .bind(&from.into())
            .with_context(|| format!("bind {from}"))?;
        socket.set_nonblocking(self.active_style() == Style::NonBlocking)?;
        Ok(socket)
    }

    /// The active end, connected.
    pub(crate) fn dial(&self, setup: &Setup<'_>) -> Result<End> {
        let socket = self.unconnected(setup)?;
        let to = self.target();
        match socket.connect(&to.into()) {
            Ok(()) => {}
            Err(e) if errno(&e) == Errno::EINPROGRESS => {}
            Err(e) => return Err(e).with_context(|| format!("connect to {to}")),
        }
        let end = End::new(socket, self.active_style());
        if end.style() == Style::NonBlocking {
            end.ready(PollFlags::POLLOUT).context("connect")?;
            if let Some(error) = end.socket().take_error()? {
                return Err(error).with_context(|| format!("connect to {to}"));
            }
        }
        Ok(end)
    }

    /// The passive end of the next connection.
    pub(crate) fn accept(&self, listener: &Socket) -> Result<End> {
        let style = self.passive_style();
        let waiting = End::new(listener.try_clone()?, style);
        let (socket, _) = waiting
            .patiently(PollFlags::POLLIN, || {
                listener.accept().map_err(|e| errno(&e))
            })
            .context("accept")?;
        socket.set_nonblocking(style == Style::NonBlocking)?;
        Ok(End::new(socket, style))
    }

    /// Which of a connection's active and passive end is the application's; that first.
    pub(crate) fn ends(&self, active: End, passive: End) -> (End, End) {
        match self.role() {
            Role::Server => (passive, active),
            Role::Client => (active, passive),
        }
    }
}
