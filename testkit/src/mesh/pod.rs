//! A pod: a network namespace from the CNI chain, an Envoy, applications.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::identity::{Authority, Identity};
use super::node::{Attachment, Node};
use super::rules;
use super::sidecar::{self, INBOUND, OUTBOUND, Owner, Service, USER};
use crate::command::Run;
use crate::patience::until;
use crate::place::Place;
use crate::process::Process;

/// State of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";
/// State of an established connection in `/proc/net/tcp`.
const ESTABLISHED: &str = "01";
/// State of what is left of a connection that has ended on both sides.
const TIME_WAIT: &str = "06";
/// How long connections may take to end.
const QUIET: Duration = Duration::from_secs(20);

/// A pod. Its processes end on drop; its namespace goes with the node.
#[derive(Debug)]
pub struct Pod {
    /// Its name on the node.
    pub name: String,
    /// What the chain gave it.
    pub attachment: Attachment,
    place: Place,
    identity: Identity,
    envoy: Option<Process>,
    apps: Vec<Process>,
}

impl Pod {
    /// Makes a network namespace and runs ADD.
    pub fn new(node: &Node, name: &str) -> Result<Self> {
        let netns = node.make_netns(name)?;
        let attachment = node.add(&netns)?;
        let cgroup = node.scratch.pod_cgroup(name);
        fs::create_dir(&cgroup).with_context(|| format!("create {}", cgroup.display()))?;
        let place = Place {
            netns: Some(netns),
            cgroup: Some(cgroup),
            user: None,
        };
        Ok(Self {
            name: name.to_owned(),
            attachment,
            place,
            identity: Authority::of_this_process()?.issue(name)?,
            envoy: None,
            apps: Vec::new(),
        })
    }

    /// Where its applications run.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// Its addresses: IPv4, IPv6.
    pub const fn ips(&self) -> [IpAddr; 2] {
        self.attachment.ips
    }

    /// From its Envoy's next start on it shows this certificate; the one it showed so far.
    pub fn disguise(&mut self, identity: Identity) -> Identity {
        std::mem::replace(&mut self.identity, identity)
    }

    /// Starts its Envoy behind Istio's rules.
    pub fn start_sidecar(&mut self, node: &Node, services: &[Service], workers: u32) -> Result<()> {
        rules::set(&self.place)?;
        self.start_envoy(node, services, workers)
    }

    /// Starts its Envoy, the rules being set.
    pub fn start_envoy(&mut self, node: &Node, services: &[Service], workers: u32) -> Result<()> {
        let config = node.scratch.path(&format!("{}.json", self.name));
        let owner = Owner {
            ips: self.ips(),
            identity: &self.identity,
        };
        sidecar::write(&config, &sidecar::config(owner, services))?;
        let args = [
            "--config-path",
            &config.to_string_lossy(),
            "--concurrency",
            &workers.to_string(),
            "--disable-hot-restart",
            "--log-level",
            "warning",
        ];
        let args = args.map(str::to_owned);
        let place = Place {
            user: Some(USER),
            ..self.place.clone()
        };
        let name = format!("{}-envoy", self.name);
        let logs = node.scratch.path("logs");
        let mut envoy = Process::start(&name, &logs, &place, &node.tools.envoy, &args)?;
        envoy.wait_for("listens", |_| {
            let ports = self.ports_in(LISTEN)?;
            Ok([INBOUND, OUTBOUND]
                .iter()
                .all(|p| ports.iter().filter(|q| *q == p).count() >= 2))
        })?;
        self.envoy = Some(envoy);
        Ok(())
    }

    /// Starts a server of this program and waits until it listens.
    pub fn serve(&mut self, node: &Node, name: &str, args: &[&str]) -> Result<()> {
        let mut app = self.spawn(node, name, args)?;
        app.wait_ready()?;
        self.apps.push(app);
        Ok(())
    }

    /// Starts this program in the pod.
    pub fn spawn(&self, node: &Node, name: &str, args: &[&str]) -> Result<Process> {
        self.start(node, name, &node.tools.this, args)
    }

    /// Starts any program in the pod.
    pub fn start(&self, node: &Node, name: &str, program: &Path, args: &[&str]) -> Result<Process> {
        let args: Vec<_> = args.iter().map(|arg| (*arg).to_owned()).collect();
        let (name, logs) = (format!("{}-{name}", self.name), node.scratch.path("logs"));
        Process::start(&name, &logs, &self.place, program, &args)
    }

    /// Keeps a server that listens at a port from now on, once it does.
    pub fn keep(&mut self, mut server: Process, port: u16) -> Result<()> {
        server.wait_for("listens", |_| Ok(self.ports_in(LISTEN)?.contains(&port)))?;
        self.apps.push(server);
        Ok(())
    }

    /// Moves what is started from now on to another cgroup.
    pub fn move_to(&mut self, cgroup: &Path) {
        self.place.cgroup = Some(cgroup.to_owned());
    }

    /// Starts a server of any program and waits until the port is listened on.
    pub fn run_server(
        &self,
        node: &Node,
        port: u16,
        program: &Path,
        args: &[String],
    ) -> Result<Process> {
        let (name, logs) = (format!("{}-{port}", self.name), node.scratch.path("logs"));
        let mut server = Process::start(&name, &logs, &self.place, program, args)?;
        server.wait_for("listens", |_| Ok(self.ports_in(LISTEN)?.contains(&port)))?;
        Ok(server)
    }

    /// Ends all servers; what each of them wrote.
    pub fn end_apps(&mut self, limit: Duration) -> Result<Vec<String>> {
        self.apps.drain(..).map(|app| app.end(limit)).collect()
    }

    /// Ends Envoy.
    pub fn end_sidecar(&mut self) {
        self.envoy = None;
    }

    /// Kills Envoy, in the middle of whatever it does.
    pub fn kill_sidecar(&mut self) -> Result<()> {
        self.envoy.take().map_or(Ok(()), Process::kill)
    }

    /// Forgets which machine has which address, as a gratuitous ARP of a new owner would do.
    pub fn forget_neighbours(&self) -> Result<()> {
        let flush = ["neighbour", "flush", "dev", "eth0"];
        Run::new("ip").args(flush).at(&self.place)?.done()
    }

    /// Sockets that no process holds give up soon what nobody acknowledges: else the kernel tries for
    /// minutes, in a namespace that nobody sees any more.
    pub fn give_up_soon(&self) -> Result<()> {
        let path = "/proc/sys/net/ipv4/tcp_orphan_retries";
        let set = || fs::write(path, "3").with_context(|| format!("write {path}"));
        self.place.within(set)
    }

    /// Takes the pod off its node, as a runtime does: DEL, then namespace and cgroup.
    pub fn delete(&mut self, node: &Node) -> Result<()> {
        self.apps.clear();
        self.envoy = None;
        node.del(&self.attachment.netns)?;
        node.remove_netns(&self.name)?;
        let cgroup = node.scratch.pod_cgroup(&self.name);
        fs::remove_dir(&cgroup).with_context(|| format!("remove {}", cgroup.display()))
    }

    /// Envoy's process id, where it runs.
    pub fn envoy_id(&self) -> Option<u32> {
        self.envoy.as_ref().map(Process::id)
    }

    /// Connections established in the pod now.
    pub fn established(&self) -> Result<usize> {
        Ok(self.ports_in(ESTABLISHED)?.len())
    }

    /// Connections that have not ended for both sides yet.
    pub fn unended(&self) -> Result<usize> {
        Ok(self
            .ports_where(|state| ![LISTEN, TIME_WAIT].contains(&state))?
            .len())
    }

    /// TCP sockets that exist in the pod although no process holds them, none
    /// of them in the queue of a listener.
    pub fn unheld_sockets(&self) -> Result<i64> {
        let used = self
            .place
            .within(|| read(Path::new("/proc/thread-self/net/sockstat")))?;
        let used: i64 = used
            .lines()
            .find_map(|line| line.strip_prefix("sockets: used ")?.trim().parse().ok())
            .with_context(|| format!("no count of sockets in {used:?}"))?;
        let mut held = HashSet::new();
        if let Some(cgroup) = &self.place.cgroup {
            for pid in read(&cgroup.join("cgroup.procs"))?.lines() {
                let fds = fs::read_dir(Path::new("/proc").join(pid).join("fd"));
                // A process or a descriptor that is gone holds nothing.
                for fd in fds.into_iter().flatten().flatten() {
                    let target = fs::read_link(fd.path()).unwrap_or_default();
                    if target.to_string_lossy().starts_with("socket:") {
                        held.insert(target);
                    }
                }
            }
        }
        Ok(used - i64::try_from(held.len())?)
    }

    /// Bytes that an interface has received.
    pub fn received_bytes(&self, interface: &str) -> Result<u64> {
        let text = self
            .place
            .within(|| read(Path::new("/proc/thread-self/net/dev")))?;
        text.lines()
            .find_map(|line| line.trim_start().strip_prefix(interface)?.strip_prefix(':'))
            .and_then(|fields| fields.split_whitespace().next()?.parse().ok())
            .with_context(|| format!("no interface {interface} in pod {}", self.name))
    }

    /// Local ports of the pod's TCP sockets in a state.
    fn ports_in(&self, state: &str) -> Result<Vec<u16>> {
        self.ports_where(|found| found == state)
    }

    fn ports_where(&self, wanted: impl Fn(&str) -> bool) -> Result<Vec<u16>> {
        let text = self.place.within(|| {
            let table = |name: &str| read(&Path::new("/proc/thread-self/net").join(name));
            Ok(table("tcp")? + &table("tcp6")?)
        })?;
        Ok(text
            .lines()
            .filter_map(|line| port_in(line, &wanted))
            .collect())
    }
}

/// The local port of a line of `/proc/net/tcp`, if the socket's state is one that is wanted.
fn port_in(line: &str, wanted: impl Fn(&str) -> bool) -> Option<u16> {
    let mut fields = line.split_whitespace().skip(1);
    let (local, _, found) = (fields.next()?, fields.next()?, fields.next()?);
    let port = local.rsplit_once(':')?.1;
    wanted(found).then(|| u16::from_str_radix(port, 16).ok())?
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// Waits until no connection is left in the pods, so that what follows is not
/// served by connections that Envoy keeps from before.
pub fn quiet(pods: &[&Pod]) -> Result<()> {
    until(QUIET, || {
        let open = pods.iter().map(|pod| pod.established());
        let open = open.sum::<Result<usize>>()?;
        let seen = || format!("{open} connections still open");
        Ok((open == 0).then_some(()).ok_or_else(seen))
    })
}

/// Address and port in words.
pub fn at(ip: IpAddr, port: u16) -> String {
    SocketAddr::new(ip, port).to_string()
}

#[cfg(test)]
mod tests {
    use super::{ESTABLISHED, LISTEN, port_in};

    #[test]
    fn ports_are_read_in_both_families() {
        let v4 = "   0: 0100007F:3A99 00000000:0000 0A 00000000:00000000 00:00000000";
        let v6 = "   1: 00000000000000000000000000000000:3A9E 0000:0000 01 0:0";
        let port_in = |line, state| port_in(line, |found| found == state);
        assert_eq!(port_in(v4, LISTEN), Some(15001));
        assert_eq!(port_in(v4, ESTABLISHED), None);
        assert_eq!(port_in(v6, ESTABLISHED), Some(15006));
        assert_eq!(
            port_in("  sl  local_address rem_address   st", LISTEN),
            None
        );
    }
}
