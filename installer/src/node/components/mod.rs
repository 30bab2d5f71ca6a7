//! What Sockway keeps on a node: programs, plugin, conflist, pods. One description of what is wanted, four
//! things that compare the node with it.
//!
//! `install` applies what each plans, in this order: every moment is safe to be killed in. First come the
//! programs, which do nothing without registered pods, then the plugin, which nobody calls yet, then the
//! conflist, from which the runtime calls it, then the pods that are older. `run` does so again and again,
//! `uninstall` takes off in the reverse order, `install --dry-run` prints the plans.

pub mod conflist;
pub mod plugin;
pub mod pods;
pub mod programs;

use anyhow::Result;
use serde::Serialize;

use crate::node::undo::Undo;
use crate::node::{Host, Report, Wanted};
use crate::reconcile::SourceArgs;

/// A change to the node, before it is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Whose it is.
    pub component: &'static str,
    /// What is done, to what.
    pub what: String,
    /// How that is now, or why it has to be done.
    pub why: String,
    /// The text that is written, where it is short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// The node, what is wanted of it, and where pods are noted.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// What is wanted.
    pub wanted: &'a Wanted,
    /// What the checks found.
    pub host: &'a Host,
    /// Where runtimes note pods.
    pub sources: &'a SourceArgs,
}

/// One of the things that are kept.
pub trait Component {
    /// The word for it.
    fn name(&self) -> &'static str;

    /// What has to change; nothing is changed.
    ///
    /// # Errors
    ///
    /// Where it cannot be looked at, or cannot be made as wanted.
    fn plan(&self, scene: Scene<'_>) -> Result<Vec<Step>>;

    /// Makes it as wanted, and notes what was done; what can be taken back is in `undo`.
    ///
    /// # Errors
    ///
    /// The step that failed.
    fn apply(&self, scene: Scene<'_>, undo: &mut Undo, report: &mut Report) -> Result<()>;
}

/// All, in the order in which they are put on a node.
pub const ALL: [&dyn Component; 4] = [
    &programs::Programs,
    &plugin::Plugin,
    &conflist::Conflists,
    &pods::Pods,
];

/// Everything that would be done.
///
/// # Errors
///
/// The first component that cannot be made as wanted.
pub fn plan(scene: Scene<'_>) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    for component in ALL {
        steps.extend(component.plan(scene)?);
    }
    Ok(steps)
}

fn step(component: &dyn Component, what: String, why: impl Into<String>) -> Step {
    Step {
        component: component.name(),
        what,
        why: why.into(),
        text: None,
    }
}
