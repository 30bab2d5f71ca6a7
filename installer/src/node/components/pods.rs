//! The registered pods.

use anyhow::Result;

use super::{Component, Scene, Step, step};
use crate::node::Report;
use crate::node::undo::Undo;
use crate::reconcile;

/// Names that a line shows.
const SHOWN: usize = 8;

/// See [`Component`].
#[derive(Clone, Copy, Debug)]
pub struct Pods;

impl Component for Pods {
    fn name(&self) -> &'static str {
        "pods"
    }

    fn plan(
        &self,
        Scene {
            wanted, sources, ..
        }: Scene<'_>,
    ) -> Result<Vec<Step>> {
        let missing = reconcile::missing(&wanted.pins, &wanted.cni, sources)?;
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let mut names = missing[..missing.len().min(SHOWN)].join(", ");
        if missing.len() > SHOWN {
            names.push_str(", ...");
        }
        let what = format!("register {} pods: {names}", missing.len());
        let why = "they live and are older; none is restarted, new connections take part";
        Ok(vec![step(self, what, why)])
    }

    /// A pod that cannot be registered works, and is said: no reason to take an install back.
    fn apply(
        &self,
        Scene {
            wanted, sources, ..
        }: Scene<'_>,
        _: &mut Undo,
        report: &mut Report,
    ) -> Result<()> {
        match reconcile::run(&wanted.pins, &wanted.cni, sources, false) {
            Ok(pods) => report.pods = Some(pods),
            Err(e) => {
                log::warn!("pods that are older than the install are not registered: {e:#}");
            }
        }
        Ok(())
    }
}
