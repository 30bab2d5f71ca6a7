//! Answers the real plugin of terway as its daemon does: gRPC on a socket of the node.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use h2::RecvStream;
use h2::server::{self, SendResponse};
use http::{HeaderMap, HeaderValue, Request as HttpRequest, Response};
use prost::Message as _;
use prost::bytes::{BufMut as _, Bytes, BytesMut};
use tokio::net::{UnixListener, UnixStream};

use super::addresses::{allocate, find};
use super::links::{attach, forget, mac};
use super::messages::{Allocated, Basic, Done, EXCLUSIVE, Eni, Known, Net, POLICY, Request, Set};
use super::{GATEWAY, Mode, NETWORK};
use crate::place::SERVICE_CIDR;

const SOCKET: &str = "/run/eni/eni.socket";
/// The interface of the node that all pods are behind in policy route mode.
const SHARED: Ipv4Addr = Ipv4Addr::new(10, 124, 3, 254);
/// Of a message: not compressed, and its length.
const PREFIX: usize = 5;

/// Serves until it is ended.
pub(crate) fn serve(mode: Mode) -> Result<()> {
    let socket = Path::new(SOCKET);
    let parent = socket.parent().context("the socket's directory")?;
    fs::create_dir_all(parent).context("cannot create the socket's directory")?;
    if socket.exists() {
        fs::remove_file(socket).context("cannot remove the last socket")?;
    }
    let shared = match mode {
        Mode::Policy => Some(mac(&attach(SHARED)?)?),
        Mode::Exclusive => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("tokio")?;
    runtime.block_on(async {
        let listener = UnixListener::bind(socket).context("cannot listen")?;
        loop {
            let (stream, _) = listener.accept().await.context("cannot accept")?;
            let shared = shared.clone();
            tokio::spawn(async move {
                if let Err(error) = connection(stream, shared.as_deref()).await {
                    eprintln!("{error:#}");
                }
            });
        }
    })
}

async fn connection(stream: UnixStream, shared: Option<&str>) -> Result<()> {
    let mut connection = server::handshake(stream).await.context("no HTTP/2")?;
    while let Some(request) = connection.accept().await {
        let (request, respond) = request.context("a request")?;
        let shared = shared.map(str::to_owned);
        tokio::spawn(async move {
            if let Err(error) = answer(request, respond, shared.as_deref()).await {
                eprintln!("{error:#}");
            }
        });
    }
    Ok(())
}

async fn answer(
    request: HttpRequest<RecvStream>,
    mut respond: SendResponse<Bytes>,
    shared: Option<&str>,
) -> Result<()> {
    let method = request
        .uri()
        .path()
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned();
    let mut body = request.into_body();
    let mut text = BytesMut::new();
    while let Some(part) = body.data().await {
        let part = part.context("a request's body")?;
        body.flow_control()
            .release_capacity(part.len())
            .context("window")?;
        text.put(part);
    }
    ensure!(text.len() >= PREFIX, "{method}: no message");
    let called = call(&method, &text[PREFIX..], shared);
    let header = Response::builder()
        .header("content-type", "application/grpc")
        .body(())
        .context("a header")?;
    let mut stream = respond.send_response(header, false).context("answer")?;
    let mut trailers = HeaderMap::new();
    match called {
        Ok(message) => {
            let mut frame = BytesMut::new();
            frame.put_u8(0);
            frame.put_u32(u32::try_from(message.len()).context("a length")?);
            frame.put(&message[..]);
            stream.send_data(frame.freeze(), false).context("answer")?;
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
        }
        Err(error) => {
            eprintln!("{method}: {error:#}");
            trailers.insert("grpc-status", HeaderValue::from_static("13"));
        }
    }
    stream.send_trailers(trailers).context("answer")
}

/// A call of the plugin's; `shared` is the interface that all pods are behind, where there is one.
fn call(method: &str, message: &[u8], shared: Option<&str>) -> Result<Vec<u8>> {
    let container =
        || -> Result<String> { Ok(Request::decode(message).context("a request")?.container) };
    let kind = if shared.is_some() { POLICY } else { EXCLUSIVE };
    let net = |address: Ipv4Addr, mac: Option<String>| Net {
        basic: Some(Basic {
            address: set(address.to_string()),
            subnet: set(NETWORK),
            gateway: set(GATEWAY),
            services: set(SERVICE_CIDR),
        }),
        eni: mac.map(|mac| Eni { mac }),
        default_route: true,
    };
    match method {
        "AllocIP" => {
            let address = allocate(&container()?)?;
            let mac = match shared {
                Some(mac) => mac.to_owned(),
                None => mac(&attach(address)?)?,
            };
            let nets = vec![net(address, Some(mac))];
            Ok(Allocated {
                success: true,
                kind,
                ipv4: true,
                nets,
            }
            .encode_to_vec())
        }
        "GetIPInfo" => {
            let found = find(&container()?)?;
            let nets = found.map(|(address, _)| net(address, shared.map(str::to_owned)));
            let nets = nets.into_iter().collect();
            Ok(Known {
                kind,
                success: true,
                ipv4: true,
                nets,
            }
            .encode_to_vec())
        }
        "ReleaseIP" => {
            if let Some((address, path)) = find(&container()?)? {
                forget(address);
                fs::remove_file(path).context("release the address")?;
            }
            Ok(Done { success: true }.encode_to_vec())
        }
        "RecordEvent" => Ok(Done { success: true }.encode_to_vec()),
        _ => bail!("no such method"),
    }
}

fn set(ipv4: impl Into<String>) -> Option<Set> {
    Some(Set { ipv4: ipv4.into() })
}
