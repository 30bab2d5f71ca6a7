//! CPU time, by the kernel's own accounting.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

/// CPU time that a cgroup2 has used since it was made.
pub fn usage(cgroup: &Path) -> Result<Duration> {
    let path = cgroup.join("cpu.stat");
    let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
    let usage = text
        .lines()
        .find_map(|line| line.strip_prefix("usage_usec "));
    let usage = usage.and_then(|usage| usage.parse().ok());
    usage
        .map(Duration::from_micros)
        .with_context(|| format!("no usage_usec in {}", path.display()))
}
