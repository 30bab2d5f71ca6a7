//! The HTTP side: a few pages by GET, one request for each connection.
//!
//! Whoever asks gets a bounded time for the whole exchange, and so many connections at once: one more
//! takes the place of the oldest. So clients that send a byte a second, or take one, keep nobody waiting.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::TcpListener as Listener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{sleep, timeout};

/// For a request and its answer together.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at once.
const MOST: usize = 128;
/// Bytes of a request's head; hyper wants no less.
const MAX_HEAD: usize = 8 * 1024;
/// A page that takes work to make is made once for all who ask within this time.
const FRESH: Duration = Duration::from_millis(100);

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// Media type.
    pub kind: &'static str,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Plain text.
    pub fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self {
            status,
            kind: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }
}

/// Where answers come from.
pub trait Site: Send + Sync + 'static {
    /// The answer for a path that is known at once; `None` where it takes work.
    fn quick(&self, path: &str) -> Option<Answer>;
    /// The answer for any other path.
    fn slow(&self, path: &str) -> Answer;
}

/// Answers requests until the process ends.
///
/// # Errors
///
/// Where the runtime cannot be started.
pub fn serve(listener: Listener, site: impl Site) -> Result<()> {
    listener
        .set_nonblocking(true)
        .context("cannot use the listening socket")?;
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .max_blocking_threads(1)
        .build()
        .context("cannot start the server")?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener).context("cannot use the socket")?;
        accept(listener, Arc::new(Desk::new(site))).await;
        Ok(())
    })
}

async fn accept<S: Site>(listener: TcpListener, desk: Arc<Desk<S>>) {
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((client, _)) => {
                open.retain(|task| !task.is_finished());
                if open.len() >= MOST
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
                let desk = Arc::clone(&desk);
                let task = tokio::spawn(async move {
                    if timeout(PATIENCE, converse(client, desk)).await.is_err() {
                        log::debug!("health and metrics: a client took too long");
                    }
                });
                open.push_back(task.abort_handle());
            }
            // No descriptor left: the next one may fare better.
            Err(e) => {
                log::debug!("health and metrics: {e}");
                sleep(FRESH).await;
            }
        }
    }
}

async fn converse<S: Site>(client: TcpStream, desk: Arc<Desk<S>>) {
    let answer = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<_, Infallible>(respond(desk.answer(request).await)) }
    });
    let done = http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(client), answer)
        .await;
    if let Err(e) = done {
        log::debug!("health and metrics: {e}");
    }
}

fn respond(Answer { status, kind, body }: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

/// The site, and the page that took work last.
struct Desk<S> {
    site: Arc<S>,
    last: Mutex<Option<(Instant, String, Answer)>>,
}

impl<S: Site> Desk<S> {
    fn new(site: S) -> Self {
        Self {
            site: Arc::new(site),
            last: Mutex::new(None),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        if request.method() != Method::GET {
            return Answer::text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
        }
        let path = request.uri().path();
        if let Some(answer) = self.site.quick(path) {
            return answer;
        }
        // One at a time: a crowd that asks for it costs the node no more than one.
        let mut last = self.last.lock().await;
        if let Some((at, of, answer)) = &*last
            && of == path
            && at.elapsed() < FRESH
        {
            return answer.clone();
        }
        let (site, wanted) = (Arc::clone(&self.site), path.to_owned());
        let made = spawn_blocking(move || site.slow(&wanted)).await;
        match made {
            Ok(answer) => {
                *last = Some((Instant::now(), path.to_owned(), answer.clone()));
                answer
            }
            Err(e) => Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{e}\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, MOST, PATIENCE, Site, serve};
    use hyper::StatusCode;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::thread;
    use std::time::{Duration, Instant};

    struct Echo;

    impl Site for Echo {
        fn quick(&self, path: &str) -> Option<Answer> {
            (path == "/healthz").then(|| Answer::text(StatusCode::OK, path))
        }

        fn slow(&self, path: &str) -> Answer {
            thread::sleep(Duration::from_millis(300));
            Answer::text(StatusCode::OK, path)
        }
    }

    fn server() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(listener, Echo));
        address
    }

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(request.as_bytes()).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn a_conversation() {
        let address = server();
        let answer = ask(address, "GET /healthz?x=1 HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("content-length: 8\r\n"), "{answer}");
        assert!(answer.ends_with("/healthz"), "{answer}");
        assert!(ask(address, "POST / HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 405"));
        assert!(ask(address, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
    }

    /// 200 clients that send a byte now and then, and one that never reads, change nothing for others.
    #[test]
    fn slow_clients_keep_nobody_waiting() {
        let address = server();
        let connect = || TcpStream::connect(address).unwrap();
        let mut slow: Vec<TcpStream> = (0..200).map(|_| connect()).collect();
        let mut page = connect();
        page.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            .unwrap();
        let request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n";
        let start = Instant::now();
        for round in 0..20 {
            for client in &mut slow {
                // Those above the bound were sent away.
                let _ = client.write_all(&request[round..=round]);
            }
            let asked = Instant::now();
            let answer = ask(address, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(asked.elapsed() < Duration::from_millis(100), "{round}");
            thread::sleep(Duration::from_millis(20));
        }
        // Each is sent away once its time is over, however busy it looks.
        let end = start + PATIENCE + Duration::from_secs(5);
        let mut left = slow.len();
        while left > 0 {
            assert!(Instant::now() < end, "{left} of {MOST} are still there");
            thread::sleep(Duration::from_millis(50));
            slow.retain_mut(|client| client.write_all(b"a").is_ok());
            left = slow.len();
        }
    }
}
