//! VERSION: what the plugin speaks. Needs no configuration, no maps, and no
//! standard input worth the name.

use std::io::Read;

use super::Done;
use crate::conf::{Keys, read};
use crate::edge::Reply;

/// Versions are short; what is longer is not repeated.
const MAX_VERSION: usize = 32;

/// Answers, in the caller's version if standard input names one.
#[must_use]
pub fn run(stdin: impl Read) -> Done {
    let bytes = read(stdin).unwrap_or_default();
    let version = Keys::parse(&bytes).and_then(|keys| keys.version()).ok();
    let version = version.as_deref().filter(|version| repeatable(version));
    Done::new(Reply::versions(version), "answered")
}

/// Whether a version may stand in a reply.
#[must_use]
pub fn repeatable(version: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+');
    (1..=MAX_VERSION).contains(&version.len()) && version.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::run;

    #[test]
    fn answers_whatever_comes() {
        let table = [
            ("", "1.1.0"),
            ("{\"cniVersion\":\"0.3.0\"}", "0.3.0"),
            ("{\"cniVersion\":\"0.2.0\"}", "0.2.0"),
            ("{\"cniVersion\":\"1.\\n0\"}", "1.1.0"),
            ("{\"cniVersion\":5}", "1.1.0"),
            ("junk", "1.1.0"),
        ];
        for (stdin, version) in table {
            let reply = run(stdin.as_bytes()).reply;
            let value: Value = serde_json::from_slice(&reply.stdout).unwrap();
            let all = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
            assert_eq!(
                value,
                json!({"cniVersion": version, "supportedVersions": all})
            );
            assert_eq!(reply.status, 0);
        }
        let long = "x".repeat(2 << 20);
        assert_eq!(run(long.as_bytes()).reply.status, 0);
    }
}
