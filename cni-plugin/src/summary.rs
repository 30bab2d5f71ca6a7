//! The one line that is logged for each call.

use std::fmt;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use sockway_common::scope;

use crate::env::Attachment;
use crate::pod::Pod;

/// Characters of an outcome that a line shows.
const SHOWN: usize = 2000;

/// What a call was about; filled in as it becomes known.
#[derive(Debug)]
pub struct Summary {
    start: Instant,
    /// Where the pins are, once a configuration was read.
    pub bpffs: Option<String>,
    /// The verb.
    pub verb: &'static str,
    /// The attachment.
    pub attachment: Option<Attachment>,
    /// The pod.
    pub pod: Pod,
    /// The addresses that were registered, or looked for.
    pub ips: Vec<IpAddr>,
    /// How far the pod takes part.
    pub scope: Option<u32>,
}

/// How a call ended, for the line.
#[derive(Debug)]
pub struct Line<'a> {
    summary: &'a Summary,
    outcome: &'a str,
    took: Duration,
}

impl Summary {
    /// Starts the clock.
    #[must_use]
    pub fn begin() -> Self {
        Self {
            start: Instant::now(),
            bpffs: None,
            verb: "-",
            attachment: None,
            pod: Pod::default(),
            ips: Vec::new(),
            scope: None,
        }
    }

    /// How long the call takes so far, from the start of the program's own code.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.start.elapsed()
    }

    /// The line, with how the call ended.
    #[must_use]
    pub fn line<'a>(&'a self, outcome: &'a str) -> Line<'a> {
        Line {
            summary: self,
            outcome,
            took: self.took(),
        }
    }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary {
            start: _,
            bpffs: _,
            verb,
            attachment,
            pod,
            ips,
            scope,
        } = self.summary;
        f.write_str(verb)?;
        if let Some(Attachment {
            container_id,
            ifname,
        }) = attachment
        {
            write!(f, " container={container_id} ifname={ifname}")?;
        }
        if !pod.name.is_empty() {
            write!(f, " pod={}/{}", pod.namespace, pod.name)?;
        }
        for (n, ip) in ips.iter().enumerate() {
            write!(f, "{}{ip}", if n == 0 { " ips=" } else { "," })?;
        }
        if let Some(scope) = scope {
            write!(f, " scope={}", scope::name(*scope))?;
        }
        write!(f, " ms={:.2} outcome=", self.took.as_secs_f64() * 1000.0)?;
        // Some texts quote the call: nobody but us writes lines to the log.
        for c in self.outcome.chars().take(SHOWN) {
            if c.is_control() {
                write!(f, "{}", c.escape_default())?;
            } else {
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Summary;
    use crate::env::Attachment;
    use crate::pod::Pod;

    #[test]
    fn a_line_says_what_is_known() {
        let mut summary = Summary::begin();
        assert!(summary.line("x").to_string().starts_with("- ms="));
        summary.verb = "ADD";
        summary.attachment = Some(Attachment {
            container_id: "c1".to_owned(),
            ifname: "eth0".to_owned(),
        });
        summary.pod = Pod {
            namespace: "ns".to_owned(),
            name: "web".to_owned(),
            ..Pod::default()
        };
        summary.ips = vec!["10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap()];
        summary.scope = Some(sockway_common::scope::AUTO);
        let line = summary.line("a\nb\u{1b}").to_string();
        let head = "ADD container=c1 ifname=eth0 pod=ns/web ips=10.0.0.1,fd00::1 scope=auto ms=";
        assert!(line.starts_with(head), "{line}");
        assert!(line.ends_with(" outcome=a\\nb\\u{1b}"), "{line}");
    }
}
