//! Taking back what a run did, where a later step of it fails.

use anyhow::Result;

type Step = Box<dyn FnOnce() -> Result<()>>;

/// What was done so far, and how to take it back.
#[derive(Default)]
pub struct Undo {
    steps: Vec<(String, Step)>,
}

impl Undo {
    /// Notes a step that has been done.
    pub fn push(&mut self, what: impl Into<String>, back: impl FnOnce() -> Result<()> + 'static) {
        self.steps.push((what.into(), Box::new(back)));
    }

    /// Takes everything back, last step first. Goes on past failures, which are logged:
    /// the caller reports the failure that made this necessary.
    pub fn roll_back(self) {
        for (what, back) in self.steps.into_iter().rev() {
            match back() {
                Ok(()) => log::info!("taken back: {what}"),
                Err(e) => log::error!("cannot take back: {what}: {e:#}"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Undo;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[test]
    fn last_step_first_and_past_failures() {
        let order = Rc::new(RefCell::new(Vec::new()));
        let mut undo = Undo::default();
        for n in 1..=3 {
            let order = Rc::clone(&order);
            undo.push(format!("step {n}"), move || {
                order.borrow_mut().push(n);
                anyhow::ensure!(n != 2, "step 2 fails");
                Ok(())
            });
        }
        undo.roll_back();
        assert_eq!(*order.borrow(), [3, 2, 1]);
    }
}
