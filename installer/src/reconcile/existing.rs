//! Connections of registered pods that are open already.

use std::collections::BTreeMap;
use std::fs::File;

use serde::Serialize;
use sockway_datapath::Pins;
use sockway_datapath::existing::{self, Joined, PATIENCE};

/// What was done.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Established sockets that were looked at.
    pub sockets: usize,
    /// Connections whose two ends were found.
    pub found: usize,
    /// Connections that were brought in.
    pub paired: usize,
    /// Connections that stay on TCP, by why.
    pub left: BTreeMap<&'static str, usize>,
    /// Why nothing can be brought in here.
    pub unavailable: Option<String>,
}

/// Brings in what can be. What cannot stays as it was, so a failure is no one's trouble.
pub fn run(pins: &Pins, namespaces: &[File]) -> Report {
    let done = existing::join(pins, namespaces, PATIENCE);
    let unavailable = done.as_ref().err().map(ToString::to_string);
    let Joined {
        sockets,
        found,
        paired,
        left,
        ..
    } = done.unwrap_or_default();
    Report {
        sockets,
        found,
        paired,
        left,
        unavailable,
    }
}

impl Report {
    /// All of it in one line.
    pub fn line(&self) -> String {
        let Self {
            found,
            paired,
            left,
            unavailable,
            ..
        } = self;
        if let Some(why) = unavailable {
            return why.clone();
        }
        let mut line = format!("{found} connections found, {paired} brought in");
        let left: Vec<_> = left.iter().map(|(why, n)| format!("{n} {why}")).collect();
        if !left.is_empty() {
            line.push_str("; left to TCP: ");
            line.push_str(&left.join(", "));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::Report;
    use std::collections::BTreeMap;

    #[test]
    fn one_line() {
        let mut report = Report {
            sockets: 9,
            found: 3,
            paired: 2,
            left: BTreeMap::from([("unpaired", 4), ("observed", 1)]),
            unavailable: None,
        };
        assert_eq!(
            report.line(),
            "3 connections found, 2 brought in; left to TCP: 1 observed, 4 unpaired"
        );
        report.unavailable = Some("no".to_owned());
        assert_eq!(report.line(), "no");
    }
}
