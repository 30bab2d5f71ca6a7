//! Which cases run.

use clap::Args;

/// Words on the command line.
#[derive(Clone, Debug, Args)]
pub(crate) struct Filter {
    /// Only cases whose name holds one of these
    filter: Vec<String>,
}

impl Filter {
    /// Whether a case of that name runs.
    pub(crate) fn takes(&self, name: &str) -> bool {
        self.filter.is_empty() || self.filter.iter().any(|part| name.contains(part))
    }
}
