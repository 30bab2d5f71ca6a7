//! Our entry in the lists that matter.

use anyhow::Result;

use super::{Component, Scene, Step, step};
use crate::cni::changes;
use crate::cni::confdir;
use crate::node::Report;
use crate::node::undo::Undo;

/// See [`Component`].
#[derive(Clone, Copy, Debug)]
pub struct Conflists;

impl Component for Conflists {
    fn name(&self) -> &'static str {
        "conflist"
    }

    fn plan(&self, Scene { wanted, .. }: Scene<'_>) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        for change in wanted.plan_conflists()? {
            let path = change.path.display();
            if !change.is_needed() {
                continue;
            }
            steps.push(match &change.entry {
                Some(entry) if change.has_entry() => Step {
                    text: Some(entry.to_string()),
                    ..step(
                        self,
                        format!("change the entry in {path}"),
                        "it is another one",
                    )
                },
                Some(entry) => Step {
                    text: Some(entry.to_string()),
                    ..step(
                        self,
                        format!("put the entry into {path}, behind {}", change.behind()),
                        "it is in effect and has none",
                    )
                },
                None => step(
                    self,
                    format!("take the entry out of {path}"),
                    "that list is not in effect",
                ),
            });
        }
        for trouble in confdir::targets(&wanted.cni)?.troubles {
            steps.push(step(self, "wait".to_owned(), trouble));
        }
        Ok(steps)
    }

    fn apply(
        &self,
        Scene { wanted, .. }: Scene<'_>,
        undo: &mut Undo,
        report: &mut Report,
    ) -> Result<()> {
        report.conflists = wanted.install_conflists(changes::ATTEMPTS, undo)?;
        report.troubles = confdir::targets(&wanted.cni)?.troubles;
        Ok(())
    }
}
