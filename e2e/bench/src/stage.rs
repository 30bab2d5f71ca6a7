//! Two pods with sidecars and the servers that are measured: without mutual TLS
//! between the Envoys, and at other ports with it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sockway_testkit::mesh::load;
use sockway_testkit::mesh::node::Node;
use sockway_testkit::mesh::pod::{self, Pod};
use sockway_testkit::mesh::sidecar::{Pipe, Protocol, Service};
use sockway_testkit::mesh::tools::on_path;

/// fortio's TCP echo.
pub(crate) const TCP: u16 = 8078;
/// fortio's gRPC ping.
pub(crate) const GRPC: u16 = 8079;
/// fortio's HTTP echo.
pub(crate) const HTTP: u16 = 8081;
/// nginx with a file, sent by `sendfile`.
pub(crate) const FILES: u16 = 8082;
/// Our echo.
pub(crate) const ECHO: u16 = 9001;
/// Our sink.
pub(crate) const SINK: u16 = 9002;
/// KiB that fortio takes as a payload at most.
pub(crate) const FORTIO_KIB: &str = "1024";
/// The file that nginx sends: its name, and its bytes.
pub(crate) const FILE: (&str, usize) = ("1k", 1024);
/// How much higher the ports are where the Envoys speak mutual TLS with each other.
const SECURE: u16 = 400;
/// The same where they meet over `AF_UNIX`.
const PIPES: u16 = 200;
const PORTS: [(u16, Protocol); 6] = [
    (TCP, Protocol::Tcp),
    (HTTP, Protocol::Http),
    (GRPC, Protocol::Http),
    (FILES, Protocol::Http),
    (ECHO, Protocol::Tcp),
    (SINK, Protocol::Tcp),
];

/// The program with our own load, client and server: built beside this one.
pub(crate) fn own_load(node: &Node) -> Result<PathBuf> {
    let directory = node.tools.this.parent().context("no directory")?;
    let program = directory.join("sockway-e2e");
    ensure!(program.exists(), "{} is not there", program.display());
    Ok(program)
}

/// Where fortio is.
pub(crate) fn fortio() -> Result<PathBuf> {
    std::env::var_os("SOCKWAY_FORTIO")
        .map(PathBuf::from)
        .context("SOCKWAY_FORTIO is not set: run it by `make bench`")
}

/// A service's port, without mutual TLS or with it.
pub(crate) const fn port(base: u16, secure: bool) -> u16 {
    if secure { base + SECURE } else { base }
}

/// The pods.
pub(crate) struct Stage {
    /// The pod that asks.
    pub(crate) client: Pod,
    /// The pod that answers.
    pub(crate) server: Pod,
    /// Whether the Envoys meet over `AF_UNIX` from now on.
    pub(crate) pipes: bool,
    /// fortio, where it is measured with.
    pub(crate) fortio: Option<PathBuf>,
    /// The node. Last: pods end before it.
    pub(crate) node: Node,
}

impl Stage {
    /// Makes pods, servers and sidecars on a node; the servers are fortio's and nginx, or our own.
    pub(crate) fn new(node: Node, concurrency: u32, fortio: Option<PathBuf>) -> Result<Self> {
        let mut stage = Self {
            client: Pod::new(&node, "client")?,
            server: Pod::new(&node, "server")?,
            pipes: false,
            fortio,
            node,
        };
        for secure in [false, true] {
            match stage.fortio.clone() {
                Some(fortio) => stage.start_servers(&fortio, secure)?,
                None => stage.start_own(secure)?,
            }
            serve(&stage.node, &mut stage.server, secure)?;
        }
        stage.start_sidecars(concurrency)?;
        Ok(stage)
    }

    /// Our own echo servers in place of fortio's.
    fn start_own(&mut self, secure: bool) -> Result<()> {
        let program = own_load(&self.node)?;
        for (base, protocol) in [(TCP, Protocol::Tcp), (HTTP, Protocol::Http)] {
            let at = port(base, secure);
            let Self { server, node, .. } = self;
            let echo = load::serve(node, server, &program, protocol, at)?;
            server.keep(echo, at)?;
        }
        Ok(())
    }

    fn start_servers(&mut self, fortio: &Path, secure: bool) -> Result<()> {
        let Self { server, node, .. } = self;
        let at = |base| port(base, secure).to_string();
        let [tcp, http, grpc] = [TCP, HTTP, GRPC].map(at);
        let (name, echo) = (format!("fortio-{tcp}"), ["tcp-echo", "-tcp-port", &tcp]);
        let echo = server.start(node, &name, fortio, &echo)?;
        server.keep(echo, port(TCP, secure))?;
        let args = [
            "server",
            "-http-port",
            &http,
            "-grpc-port",
            &grpc,
            "-maxpayloadsizekb",
            FORTIO_KIB,
            "-redirect-port",
            "disabled",
            "-tcp-port",
            "disabled",
            "-udp-port",
            "disabled",
        ];
        let web = server.start(node, &format!("fortio-{http}"), fortio, &args)?;
        server.keep(web, port(HTTP, secure))?;
        start_nginx(node, server, port(FILES, secure))
    }

    /// Where a service is asked for now.
    pub(crate) const fn port(&self, base: u16, secure: bool) -> u16 {
        port(base, secure) + if self.pipes { PIPES } else { 0 }
    }

    fn start_sidecars(&mut self, concurrency: u32) -> Result<()> {
        let backend = self.server.ips();
        let name = self.server.name.clone();
        let pipes = self.node.scratch.path("pipes");
        fs::create_dir(&pipes).context("create a directory for pipes")?;
        // Envoy makes them, as another user.
        fs::set_permissions(&pipes, Permissions::from_mode(0o777)).context("chmod")?;
        let mut services = Vec::new();
        for ((base, protocol), secure) in PORTS.into_iter().flat_map(|p| [(p, false), (p, true)]) {
            let port = port(base, secure);
            let service = Service {
                port,
                protocol,
                backend,
                secure: secure.then(|| name.clone()),
                pipe: None,
            };
            let path = pipes.join(port.to_string()).to_string_lossy().into_owned();
            services.push(Service {
                port: port + PIPES,
                pipe: Some(Pipe { path, port }),
                ..service.clone()
            });
            services.push(service);
        }
        for pod in [&mut self.client, &mut self.server] {
            pod.start_sidecar(&self.node, &services, concurrency)?;
        }
        Ok(())
    }

    /// Waits until nothing of the pods is connected.
    pub(crate) fn quiet(&self) -> Result<()> {
        pod::quiet(&[&self.client, &self.server])
    }
}

/// Starts our echo and sink in a pod.
pub(crate) fn serve(node: &Node, pod: &mut Pod, secure: bool) -> Result<()> {
    let at = |base| format!("[::]:{}", port(base, secure));
    let (echo, sink) = (at(ECHO), at(SINK));
    let args = ["endpoint", "serve", "--echo", &echo, "--sink", &sink];
    let serve = pod.spawn(node, &format!("serve-{}", port(ECHO, secure)), &args)?;
    pod.keep(serve, port(SINK, secure))
}

/// nginx as distributions ship it: edge-triggered, a short read is the end of what is there, `sendfile`.
fn start_nginx(node: &Node, server: &mut Pod, port: u16) -> Result<()> {
    let program = on_path("nginx")
        .or_else(|| Some(PathBuf::from("/usr/sbin/nginx")).filter(|path| path.is_file()))
        .context("nginx is not there: run `make setup`, or `scripts/setup bench`")?;
    let dir = node.scratch.path(&format!("nginx-{port}"));
    let make =
        |path: &Path| fs::create_dir(path).with_context(|| format!("create {}", path.display()));
    make(&dir)?;
    let (name, size) = FILE;
    fs::write(dir.join(name), vec![0x5a; size]).context("write a file for nginx")?;
    let shown = dir.display();
    let text = format!(
        "user root; worker_processes 2; daemon off; pid {shown}/nginx.pid; error_log stderr;
         events {{ worker_connections 4096; }}
         http {{
           access_log off; sendfile on; tcp_nopush on; keepalive_requests 100000000;
           client_body_temp_path {shown}/body; proxy_temp_path {shown}/proxy;
           fastcgi_temp_path {shown}/fastcgi; uwsgi_temp_path {shown}/uwsgi; scgi_temp_path {shown}/scgi;
           server {{ listen [::]:{port} ipv6only=off; root {shown}; }}
         }}"
    );
    let config = dir.join("nginx.conf");
    fs::write(&config, text).context("write nginx's configuration")?;
    let args = ["-c", &config.to_string_lossy(), "-e", "stderr"];
    let nginx = server.start(node, &format!("nginx-{port}"), &program, &args)?;
    server.keep(nginx, port)
}
