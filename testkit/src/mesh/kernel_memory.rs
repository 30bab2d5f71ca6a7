//! Kernel memory: what sockets of pods are charged, and the slab caches.

use std::fs;
use std::ops::Sub;

use anyhow::{Context, Result};

use super::pod::Pod;
use crate::command::Run;

/// Bytes, at one moment or between two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelMemory {
    /// Charged to the established sockets of the pods: receive queue, send queue
    /// and what is set aside for either (`ss --memory`, `INET_DIAG_SKMEMINFO`).
    pub sockets: i64,
    /// Objects in use in all slab caches (`/proc/slabinfo`): of the whole machine.
    pub slab: i64,
}

impl KernelMemory {
    /// Now.
    pub fn read(pods: &[&Pod]) -> Result<Self> {
        let mut sockets = 0;
        for pod in pods {
            let text = Run::new("ss")
                .args(["--tcp", "--memory", "--numeric", "--no-header"])
                .args(["state", "established"])
                .at(pod.place())?
                .output()?;
            sockets += text.split_whitespace().filter_map(charged).sum::<i64>();
        }
        let path = "/proc/slabinfo";
        let text = fs::read_to_string(path).with_context(|| format!("read {path}"))?;
        Ok(Self {
            sockets,
            slab: text.lines().filter_map(in_use).sum(),
        })
    }

    /// Both together.
    pub const fn total(&self) -> i64 {
        self.sockets + self.slab
    }
}

impl Sub for KernelMemory {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            sockets: self.sockets - before.sockets,
            slab: self.slab - before.slab,
        }
    }
}

/// Out of `skmem:(r0,rb131072,t0,tb87040,f0,w0,o0,bl0,d0)`: what is in the
/// receive and the send queue, and the rest of whole pages.
fn charged(word: &str) -> Option<i64> {
    let fields = word.strip_prefix("skmem:(")?.strip_suffix(')')?;
    let values = fields.split(',').filter_map(|field| {
        let digits = field.find(|c: char| c.is_ascii_digit() || c == '-')?;
        let (name, value) = field.split_at(digits);
        matches!(name, "r" | "f" | "w").then(|| value.parse::<i64>().ok())?
    });
    Some(values.sum())
}

/// A cache's objects in use, in bytes: `name active_objs num_objs objsize ...`.
fn in_use(line: &str) -> Option<i64> {
    let mut fields = line.split_whitespace().skip(1);
    let active: i64 = fields.next()?.parse().ok()?;
    let size: i64 = fields.nth(1)?.parse().ok()?;
    Some(active * size)
}

#[cfg(test)]
mod tests {
    use super::{charged, in_use};

    #[test]
    fn queues_are_summed() {
        let word = "skmem:(r65536,rb131072,t0,tb87040,f-200,w1000,o0,bl0,d0)";
        assert_eq!(charged(word), Some(65536 - 200 + 1000));
        assert_eq!(charged("ESTAB"), None);
    }

    #[test]
    fn caches_are_counted_by_objects() {
        let line = "kmalloc-1k 1250 1648 1024 8 2 : tunables 0 0 0 : slabdata 1 2 3";
        assert_eq!(in_use(line), Some(1250 * 1024));
        assert_eq!(in_use("# name <active_objs> <num_objs> <objsize>"), None);
    }
}
