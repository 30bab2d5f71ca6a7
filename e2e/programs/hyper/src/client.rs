//! The client.

use std::env;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};

use crate::reading::{checksum, file};

/// Fetches or sends everything on one connection, and prints a line for each.
pub(crate) async fn transfer(
    get: bool,
    speed: &str,
    to: &str,
    count: u32,
    names: &[&str],
) -> Result<()> {
    let socket = connect(to.parse().context("HOST:PORT")?).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    tokio::spawn(connection);
    for name in (0..count).flat_map(|_| names) {
        let request = if get {
            Request::get(format!("/{name}"))
                .header(HOST, to)
                .body(Full::default())
        } else {
            let body = Full::<Bytes>::new(file(Path::new(name))?);
            Request::post(format!("/{speed}"))
                .header(HOST, to)
                .body(body)
        };
        sender.ready().await?;
        let answer = sender.send_request(request?).await?.into_body();
        let line = if get {
            checksum(answer, speed == "slow").await?
        } else {
            String::from_utf8(answer.collect().await?.to_bytes().to_vec())?
        };
        print!("{line}");
    }
    Ok(())
}

/// From the address in FROM, where there is one.
async fn connect(to: SocketAddr) -> Result<TcpStream> {
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    if let Ok(from) = env::var("FROM") {
        socket.bind(SocketAddr::new(from.parse().context("FROM")?, 0))?;
    }
    socket.connect(to).await.context("connect")
}
