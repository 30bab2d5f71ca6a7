//! A reader, slow or not.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use http_body_util::BodyExt as _;
use hyper::body::{Bytes, Incoming};
use sha2::{Digest as _, Sha256};

const PAUSE: Duration = Duration::from_millis(300);
const FIRST_PAUSE: usize = 64 << 10;
const PAUSE_EVERY: usize = 8 << 20;

/// A file's bytes.
pub(crate) fn file(path: &Path) -> Result<Bytes> {
    let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    Ok(bytes.into())
}

/// The checksum of a body, as a line of hexadecimal digits.
pub(crate) async fn checksum(mut body: Incoming, slow: bool) -> Result<String> {
    let (mut sum, mut total, mut next) = (Sha256::new(), 0, FIRST_PAUSE);
    while let Some(frame) = body.frame().await {
        let frame = frame.with_context(|| format!("after {total} bytes"))?;
        let Some(bytes) = frame.data_ref() else {
            continue;
        };
        sum.update(bytes);
        total += bytes.len();
        if slow && total >= next {
            tokio::time::sleep(PAUSE).await;
            next += PAUSE_EVERY;
        }
    }
    let mut line = String::new();
    for byte in sum.finalize() {
        write!(line, "{byte:02x}")?;
    }
    Ok(line + "\n")
}
