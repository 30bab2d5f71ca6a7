//! Just enough HTTP for health checks and scrapes: GET, one request for each connection.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// A client gets this long for its request and for taking the answer.
const PATIENCE: Duration = Duration::from_secs(1);
const MAX_REQUEST: usize = 8 * 1024;

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status code and its words.
    pub status: &'static str,
    /// Media type.
    pub kind: &'static str,
    /// The body.
    pub body: String,
}

impl Answer {
    /// Plain text.
    pub fn text(status: &'static str, body: impl Into<String>) -> Self {
        Self {
            status,
            kind: "text/plain; charset=utf-8",
            body: body.into(),
        }
    }
}

/// Answers requests until the process ends. `page` gives the answer for a path.
pub fn serve(listener: &TcpListener, mut page: impl FnMut(&str) -> Answer) {
    for client in listener.incoming() {
        // A client that went away, or a descriptor short: the next one may fare better.
        if let Err(e) = client.and_then(|client| converse(client, &mut page)) {
            log::debug!("health and metrics: {e}");
        }
    }
}

fn converse(mut client: TcpStream, page: &mut impl FnMut(&str) -> Answer) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    client.set_write_timeout(Some(PATIENCE))?;
    let head = head(&mut client)?;
    let Answer { status, kind, body } = match request(&head) {
        None => Answer::text("400 Bad Request", "bad request\n"),
        Some(("GET", path)) => page(path),
        Some(_) => Answer::text("405 Method Not Allowed", "only GET\n"),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes())?;
    client.write_all(body.as_bytes())
}

/// Reads up to the empty line that ends a request's head.
fn head(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < MAX_REQUEST {
        match client.read(&mut buffer)? {
            0 => break,
            n => head.extend_from_slice(&buffer[..n]),
        }
    }
    Ok(head)
}

/// Method and path, without the query, of a request.
fn request(head: &[u8]) -> Option<(&str, &str)> {
    let line = std::str::from_utf8(head.split(|b| *b == b'\r').next()?).ok()?;
    let mut words = line.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if !version.starts_with("HTTP/1.") || words.next().is_some() || !target.starts_with('/') {
        return None;
    }
    Some((method, target.split('?').next().unwrap_or(target)))
}

#[cfg(test)]
mod tests {
    use super::{Answer, request, serve};
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    #[test]
    fn requests() {
        assert_eq!(
            request(b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n"),
            Some(("GET", "/metrics"))
        );
        for bad in [
            &b""[..],
            b"GET",
            b"GET / SPDY/9\r\n",
            b"GET x HTTP/1.1\r\n",
            b"\xff / HTTP/1.1\r\n",
        ] {
            assert_eq!(request(bad), None);
        }
    }

    #[test]
    fn a_conversation() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(&listener, |path| Answer::text("200 OK", path)));
        let ask = |request: &str| {
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(request.as_bytes()).unwrap();
            client.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            answer
        };
        let answer = ask("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains("Content-Length: 8\r\n") && answer.ends_with("/healthz"),
            "{answer}"
        );
        assert!(ask("POST / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405"));
        assert!(ask("nonsense\r\n\r\n").starts_with("HTTP/1.1 400"));
    }
}
