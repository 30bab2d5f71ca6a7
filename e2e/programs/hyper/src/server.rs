//! The server.

use std::net::{Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::reading::{checksum, file};

/// Serves a directory until it is killed.
pub(crate) async fn serve(port: u16, root: &str) -> Result<()> {
    let listen = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let listener = TcpListener::bind(listen).await.context("listen")?;
    let root = PathBuf::from(root);
    loop {
        let (socket, _) = listener.accept().await.context("accept")?;
        let root = root.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| answer(&root, request));
            let served = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
            if let Err(error) = served.await {
                eprintln!("{error:?}");
            }
        });
    }
}

async fn answer(root: &Path, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    let path = request.uri().path().to_owned();
    let body = if request.method() == Method::POST {
        checksum(request.into_body(), path == "/slow").await?.into()
    } else {
        file(&root.join(path.trim_start_matches('/')))?
    };
    Ok(Response::new(Full::new(body)))
}
