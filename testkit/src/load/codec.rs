//! Requests and answers on the wire.

use std::io::Write;

use anyhow::{Context, Result, bail};

use super::options::Protocol;

/// Header lines that are looked at, at most.
const HEADERS: usize = 32;
/// A message longer than this is not ours, bytes.
const MAX_BODY: usize = 64 << 20;

/// Appends a request with this payload.
pub(crate) fn request(protocol: Protocol, payload: &[u8], out: &mut Vec<u8>) -> Result<()> {
    if protocol == Protocol::Http {
        let size = payload.len();
        write!(
            out,
            "POST /echo HTTP/1.1\r\nHost: echo\r\nContent-Length: {size}\r\n\r\n"
        )?;
    }
    out.extend_from_slice(payload);
    Ok(())
}

/// Answers every whole request at the front of `input`.
pub(crate) fn answer(protocol: Protocol, input: &mut Vec<u8>, output: &mut Vec<u8>) -> Result<()> {
    match protocol {
        Protocol::Tcp => output.append(input),
        Protocol::Http => {
            while let Some((head, body)) = request_size(input)? {
                if input.len() < head + body {
                    break;
                }
                write!(output, "HTTP/1.1 200 OK\r\nContent-Length: {body}\r\n\r\n")?;
                output.extend_from_slice(&input[head..head + body]);
                input.drain(..head + body);
            }
        }
    }
    Ok(())
}

/// The payload of the answer in `input` once all of it is there.
///
/// `size`: of the payload that was asked with.
pub(crate) fn answered(protocol: Protocol, input: &[u8], size: usize) -> Result<Option<&[u8]>> {
    let (head, body) = match protocol {
        Protocol::Tcp => (0, size),
        Protocol::Http => match answer_size(input)? {
            Some(sizes) => sizes,
            None => return Ok(None),
        },
    };
    let whole = head + body;
    if input.len() > whole {
        bail!("{} bytes more than were asked for", input.len() - whole);
    }
    Ok((input.len() == whole).then(|| &input[head..]))
}

/// Bytes of the head and the body of a request whose head is complete.
fn request_size(input: &[u8]) -> Result<Option<(usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(input).context("parse a request")? {
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete(head) => Ok(Some((head, body_size(request.headers)?))),
    }
}

/// Bytes of the head and the body of an answer whose head is complete.
fn answer_size(input: &[u8]) -> Result<Option<(usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(input).context("parse an answer")? {
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete(head) => match response.code {
            Some(200) => Ok(Some((head, body_size(response.headers)?))),
            code => bail!(
                "the answer is {code:?}: {}",
                String::from_utf8_lossy(&input[head..])
            ),
        },
    }
}

fn body_size(headers: &[httparse::Header<'_>]) -> Result<usize> {
    let length = headers
        .iter()
        .find(|h| h.name.eq_ignore_ascii_case("content-length"));
    let length = length.context("no content-length")?.value;
    let length: usize = std::str::from_utf8(length)?
        .trim()
        .parse()
        .context("content-length")?;
    if length > MAX_BODY {
        bail!("content-length {length} is more than {MAX_BODY}");
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::{Protocol, answer, answered, request};

    #[test]
    fn http_is_answered_whole_by_whole() {
        let mut wire = Vec::new();
        request(Protocol::Http, b"hello", &mut wire).expect("writes");
        request(Protocol::Http, b"", &mut wire).expect("writes");
        let cut = wire.split_off(wire.len() - 1);
        let mut output = Vec::new();
        answer(Protocol::Http, &mut wire, &mut output).expect("answers");
        assert_eq!(
            answered(Protocol::Http, &output, 5).expect("parses"),
            Some(&b"hello"[..])
        );
        assert_eq!(
            answered(Protocol::Http, &output[..output.len() - 1], 5).expect("parses"),
            None
        );
        output.clear();
        wire.extend(cut);
        answer(Protocol::Http, &mut wire, &mut output).expect("answers");
        assert_eq!(
            answered(Protocol::Http, &output, 0).expect("parses"),
            Some(&b""[..])
        );
        assert!(wire.is_empty());
    }

    #[test]
    fn more_than_asked_for_is_an_error() {
        assert!(answered(Protocol::Tcp, b"abc", 2).is_err());
        assert!(answered(Protocol::Http, b"HTTP/1.1 503 no\r\n\r\nwhy", 2).is_err());
    }
}
