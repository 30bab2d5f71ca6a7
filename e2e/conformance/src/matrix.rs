//! The conformance table: verb x version x driver.

use std::collections::BTreeMap;
use std::fmt;

use crate::chains::VERSIONS;
use crate::drivers::{Driver, Verb};

/// What was seen in each cell.
#[derive(Debug, Default)]
pub(crate) struct Matrix {
    cells: BTreeMap<(Verb, Driver, &'static str), String>,
}

impl Matrix {
    /// Notes what was seen.
    pub(crate) fn note(&mut self, verb: Verb, driver: Driver, version: &'static str, seen: &str) {
        self.cells.insert((verb, driver, version), seen.to_owned());
    }
}

impl fmt::Display for Matrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| verb | driver | {} |", VERSIONS.join(" | "))?;
        writeln!(f, "|---|---|{}", "---|".repeat(VERSIONS.len()))?;
        for verb in Verb::ALL {
            for driver in Driver::ALL {
                write!(f, "| {} | {} |", verb.name(), driver.name())?;
                for version in VERSIONS {
                    let seen = self.cells.get(&(verb, driver, version));
                    write!(f, " {} |", seen.map_or("not run", String::as_str))?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}
