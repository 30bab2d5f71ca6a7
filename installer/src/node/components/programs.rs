//! The programs and their maps.

use anyhow::Result;
use sockway_datapath::{Datapath, Error};

use super::{Component, Scene, Step, step};
use crate::node::Report;
use crate::node::layouts;
use crate::node::undo::Undo;
use crate::sys::cgroup::Choice;

/// See [`Component`].
#[derive(Clone, Copy, Debug)]
pub struct Programs;

impl Component for Programs {
    fn name(&self) -> &'static str {
        "programs"
    }

    fn plan(&self, Scene { wanted, host, .. }: Scene<'_>) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        let cgroup = host.cgroup.path().display();
        if matches!(host.cgroup, Choice::Mount(_)) {
            let what = format!("mount cgroup2 at {cgroup}");
            steps.push(step(self, what, "this host has it mounted nowhere"));
        }
        let pins = wanted.pins.dir();
        let pins = pins.display();
        steps.push(match Datapath::status(&wanted.pins) {
            Ok(status) if status.attached => step(
                self,
                format!("replace the programs at {cgroup} in place"),
                "attached; accelerated connections go on",
            ),
            Ok(_) => step(
                self,
                format!("attach the programs to {cgroup}"),
                format!("pinned under {pins}, not attached"),
            ),
            Err(Error::NotInstalled { .. } | Error::OtherLayout { .. }) => step(
                self,
                format!("load the programs, attach them to {cgroup}, pin them and their maps under {pins}"),
                "nothing is pinned there",
            ),
            Err(e) => return Err(e.into()),
        });
        for layout in wanted.pins.other_layouts().unwrap_or_default() {
            let what = format!("take off layout {layout} of another version");
            steps.push(step(
                self,
                what,
                "its maps go once its connections have ended",
            ));
        }
        Ok(steps)
    }

    fn apply(
        &self,
        Scene { wanted, host, .. }: Scene<'_>,
        undo: &mut Undo,
        report: &mut Report,
    ) -> Result<()> {
        report.mounted = matches!(host.cgroup, Choice::Mount(_));
        host.cgroup.path().clone_into(&mut report.cgroup);
        let done = wanted.install_programs(host, undo)?;
        report.replaced = done.replaced;
        report.limits = done.limits;
        report.retired = layouts::retire(&wanted.pins)?;
        Ok(())
    }
}
