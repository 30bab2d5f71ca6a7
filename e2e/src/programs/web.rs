//! HTTP servers.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use sockway_testkit::mesh::sidecar::Protocol;
use sockway_testkit::process::Process;

use super::curl::{self, Upload, exchange, get};
use super::facts::{Facts, checksum};
use super::golang;
use super::manner::{Ends, Manner};
use super::program::Program;
use super::route::Route;
use super::scripts;
use super::site::Site;
use super::transfer;

/// How long a download may take.
const DOWNLOAD_LIMIT: Duration = Duration::from_mins(3);
/// How long curl may try, seconds.
const DOWNLOAD_SECONDS: &str = "170";

/// The programs.
pub(crate) fn programs() -> Vec<Program> {
    let http = Program {
        name: "",
        protocol: Protocol::Http,
        family: 0,
        start: |site| nginx(site, ""),
        exchange: |site| exchange(site, Upload::None),
        route: Route::Mesh,
        ends: Ends {
            client: Manner::UntilEmpty,
            server: Manner::Asks,
        },
    };
    let fit = Ends {
        server: Manner::UntilEmpty,
        ..http.ends
    };
    let blocks = Ends {
        server: Manner::Blocks,
        ..http.ends
    };
    let tcp = Program {
        protocol: Protocol::Tcp,
        ..http
    };
    vec![
        Program {
            name: "nginx, files and a proxy, curl",
            exchange: |site| transfer::all(site, transfer::curl),
            ..tcp
        },
        Program {
            name: "nginx, curl",
            ..http
        },
        Program {
            name: "nginx, curl, by TCP, IPv6",
            family: 1,
            ..tcp
        },
        Program {
            name: "nginx deferred, curl",
            start: |site| nginx(site, " deferred"),
            ..tcp
        },
        Program {
            name: "nginx, curl uploads",
            exchange: |site| exchange(site, Upload::Put),
            ..tcp
        },
        Program {
            name: "nginx, wget",
            exchange: wget,
            ends: Ends {
                client: Manner::Blocks,
                ..tcp.ends
            },
            ..tcp
        },
        Program {
            name: "Node http, curl",
            start: scripts::serve_node,
            exchange: |site| exchange(site, Upload::Echo),
            ends: fit,
            ..http
        },
        Program {
            name: "Java HttpServer, curl",
            start: java,
            exchange: |site| exchange(site, Upload::Echo),
            ends: blocks,
            ..http
        },
        Program {
            name: "Python http.server, curl",
            start: python,
            exchange: |site| exchange(site, Upload::None),
            ends: blocks,
            ..http
        },
        Program {
            name: "Go h2c upgrade, curl",
            start: golang::web,
            exchange: upgrade,
            ends: fit,
            ..tcp
        },
        Program {
            name: "nginx, curl download",
            exchange: download,
            ..tcp
        },
    ]
}

/// nginx as Debian ships it, sending by sendfile, taking files by PUT, and before another server.
fn nginx(site: &Site<'_>, manner: &str) -> Result<Vec<Process>> {
    let root = site.path("root");
    fs::create_dir(&root).context("create a directory for nginx")?;
    let (behind, server) = site.serve_behind()?;
    let (dir, port) = (site.dir.display(), site.port);
    let files = site.files.dir().display();
    let text = format!(
        "user root; worker_processes 2; daemon off; pid {dir}/nginx.pid; error_log stderr;
        events {{ worker_connections 512; }}
        http {{
            access_log off; sendfile on; tcp_nopush on; keepalive_timeout 60;
            client_max_body_size 0; client_body_buffer_size 16k;
            client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy;
            fastcgi_temp_path {dir}/fastcgi; uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
            server {{
                listen {port}{manner}; listen [::]:{port}{manner};
                root {files};
                location /put {{ root {dir}/root; dav_methods PUT; }}
                location ~ ^/(fast|slow)$ {{
                    proxy_pass http://unix:{behind};
                    proxy_http_version 1.1;
                    proxy_request_buffering off;
                }}
            }}
        }}"
    );
    let config = site.path("nginx.conf");
    fs::write(&config, text).context("write nginx's configuration")?;
    let config = config.to_string_lossy();
    let dir = site.dir.to_string_lossy();
    let nginx = site.serve("nginx", &["-p", &dir, "-e", "stderr", "-c", &config])?;
    Ok(vec![nginx, server])
}

fn java(site: &Site<'_>) -> Result<Vec<Process>> {
    let mut command = site.programs.script("java", "Server.java")?;
    command.insert(1, "-Xmx256m".into());
    Ok(vec![site.serve_files(&command)?])
}

fn python(site: &Site<'_>) -> Result<Vec<Process>> {
    let (port, root) = (site.port.to_string(), site.files.dir().to_string_lossy());
    let fixed = ["-m", "http.server", "--bind", "::", "--directory"];
    let args = [&fixed[..], &[&root, &port]].concat();
    Ok(vec![site.serve("python3", &args)?])
}

/// HTTP/1.1, then HTTP/2 by upgrade of the same connection, then straight away.
fn upgrade(site: &Site<'_>) -> Result<Facts> {
    let mut facts = Facts::default();
    for number in 0..8 {
        get(site, &mut facts, &format!("first-{number}"), "small")?;
    }
    for way in ["--http2", "--http2-prior-knowledge"] {
        for file in ["small", "page", "large", "large"] {
            let name = format!("{way} {file}");
            let to = site.path(&name);
            let run = curl::curl(site)?
                .args([way, "-w", "HTTP/%{http_version}\n", "-o"])
                .arg(&to)
                .arg(site.url(file));
            let text = facts.succeed(&name, run)?;
            ensure!(text.trim() == "HTTP/2", "{name}: {text}");
            facts.same(&name, &to, &site.files.get(file))?;
        }
    }
    Ok(facts)
}

/// wget blocks: one file by each call, then several on one connection.
fn wget(site: &Site<'_>) -> Result<Facts> {
    let mut facts = Facts::default();
    let fixed = ["--quiet", "--tries=1", "--timeout=30", "--output-document"];
    for number in 0..12 {
        let name = format!("wget-{number}");
        let to = site.path(&name);
        let file = if number % 3 == 2 { "large" } else { "small" };
        let run = site.client("wget")?.args(fixed).arg(&to);
        facts.succeed(&name, run.arg(site.url(file)))?;
        facts.same(&name, &to, &site.files.get(file))?;
    }
    let together = site.path("together");
    let run = site.client("wget")?.args(fixed).arg(&together);
    let run = run.args(["small", "large", "page"].map(|file| site.url(file)));
    facts.succeed("keep-alive", run)?;
    facts.add("together", checksum(&together)?);
    let missing = site.client("wget")?.args(fixed).arg("/dev/null");
    facts.run("missing", missing.arg(site.url("missing")))?;
    Ok(facts)
}

/// One large file; its checksum on the fly.
fn download(site: &Site<'_>) -> Result<Facts> {
    let mut facts = Facts::default();
    for number in 0..12 {
        get(site, &mut facts, &format!("first-{number}"), "small")?;
    }
    let to = site.path("downloaded");
    let run = site
        .client("curl")?
        .args(["--silent", "--show-error", "--max-time", DOWNLOAD_SECONDS])
        .args(["-w", "%{http_code} %{size_download} bytes\n", "-o"])
        .arg(&to)
        .arg(site.url("download"))
        .limit(DOWNLOAD_LIMIT);
    facts.succeed("download", run)?;
    facts.same("downloaded", &to, &site.files.get("download"))?;
    fs::remove_file(&to).context("remove the download")?;
    Ok(facts)
}
