//! What a case is given: connections of the kind under test, and a place for what it sees.

use std::fmt;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::poll::PollFlags;
use socket2::{Domain, Protocol, Socket, Type};
use sockway_common::scope;
use sockway_datapath::{Pins, Registry, existing};

use crate::end::End;
use crate::facts::Facts;
use crate::node;
use crate::pace;
use crate::place::{ENVOY_V4, ENVOY_V6, Pod};
use crate::sys::{Got, errno};
use crate::variant::{Family, Kind, Role, Style};

/// Where the application listens.
const APPLICATION_PORT: u16 = 8080;
/// Where Envoy listens.
const ENVOY_PORT: u16 = sockway_common::pod::DEFAULT_OUTBOUND_PORT;

/// Waits so many milliseconds, for something to happen or be done elsewhere.
pub(crate) fn pause(ms: u64) {
    std::thread::sleep(pace::allow(Duration::from_millis(ms)));
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
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            app: &|_| Ok(()),
            envoy: &|_| Ok(()),
            protocol: Protocol::TCP,
        }
    }
}

/// The world of one run.
pub(crate) struct Scene {
    kind: Kind,
    family: Family,
    pod: Pod,
    facts: Facts,
    /// Where the maps are, if connections are brought in after they were opened.
    late: Option<Pins>,
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
    pub(crate) fn new(kind: Kind, family: Family, pod: Pod, facts: Facts) -> Self {
        Self {
            kind,
            family,
            pod,
            facts,
            late: None,
        }
    }

    /// From now on, what [`Self::connect_with`] connects is left alone by the programs
    /// until it is established, and brought in then.
    pub(crate) fn bring_in_late(&mut self, pins: Pins) {
        self.late = Some(pins);
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
            let namespace = File::open("/proc/thread-self/ns/net")?;
            // One run at a time does this; the runner ends a case that waits for too long.
            let namespaces = [namespace];
            let done = loop {
                match existing::join(pins, &namespaces, existing::PATIENCE) {
                    Err(sockway_datapath::Error::Busy { .. }) => {}
                    done => break done,
                }
            };
            done.context("bring it in")?;
        }
        Ok(self.ends(active, passive))
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
            (Role::Server, Family::Mapped) => (Ipv6Addr::UNSPECIFIED, APPLICATION_PORT).into(),
            (Role::Server, _) => (self.pod(), APPLICATION_PORT).into(),
            (Role::Client, Family::Mapped) => (Ipv4Addr::LOCALHOST, ENVOY_PORT).into(),
            (Role::Client, _) => (self.loopback(), ENVOY_PORT).into(),
        }
    }

    /// What the active end dials.
    pub(crate) fn target(&self) -> SocketAddr {
        match (self.role(), self.family) {
            (Role::Server, Family::Mapped) => (self.pod.v4, APPLICATION_PORT).into(),
            (Role::Server, _) => (self.pod(), APPLICATION_PORT).into(),
            (Role::Client, _) => (self.loopback(), ENVOY_PORT).into(),
        }
    }

    /// The active end's own address.
    pub(crate) fn source(&self) -> SocketAddr {
        let ip = match (self.role(), self.family) {
            (Role::Server, Family::V6) => ENVOY_V6.into(),
            (Role::Server, _) => ENVOY_V4.into(),
            (Role::Client, _) => self.pod(),
        };
        (ip, 0).into()
    }

    fn prepare(setup: &Setup<'_>, app: bool, socket: &Socket) -> Result<()> {
        let prepare = if app { setup.app } else { setup.envoy };
        prepare(socket).context("prepare a socket")
    }

    /// The passive end's listening socket, in its owner's style.
    pub(crate) fn listen(&self, setup: &Setup<'_>) -> Result<Socket> {
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
