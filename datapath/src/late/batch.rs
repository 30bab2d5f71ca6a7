//! Ends that were joined together, and the threads that may be in a call that began before.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

/// A thread: its process's number, and its own.
pub(super) type Thread = (u32, u32);

/// Who is not seen elsewhere for so long is given up, until the next pass looks at it anew.
const PATIENCE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(super) struct Batch {
    since: Instant,
    /// The question that was asked after they were joined.
    question: u64,
    /// Ends by cookie, and the processes that hold each.
    ends: Vec<(u64, Vec<u32>)>,
    /// Threads that were not seen elsewhere yet, by process.
    busy: BTreeMap<u32, BTreeSet<u32>>,
}

impl Batch {
    /// `threads`: all of a process.
    pub(super) fn new(
        question: u64,
        ends: Vec<(u64, Vec<u32>)>,
        threads: impl Fn(u32) -> BTreeSet<u32>,
    ) -> Self {
        let mut busy = BTreeMap::new();
        for pid in ends.iter().flat_map(|(_, pids)| pids) {
            busy.entry(*pid).or_insert_with(|| threads(*pid));
        }
        Self {
            since: Instant::now(),
            question,
            ends,
            busy,
        }
    }

    pub(super) const fn question(&self) -> u64 {
        self.question
    }

    /// Who is waited for.
    pub(super) fn busy(&self) -> impl Iterator<Item = Thread> {
        let all = self.busy.iter();
        all.flat_map(|(pid, threads)| threads.iter().map(|thread| (*pid, *thread)))
    }

    /// Takes out the ends whose threads have all been seen elsewhere. `answered`: the last question that
    /// each thread has answered.
    pub(super) fn rested(&mut self, answered: &HashMap<Thread, u64>) -> Vec<u64> {
        let question = self.question;
        self.busy.retain(|pid, threads| {
            threads.retain(|thread| {
                answered
                    .get(&(*pid, *thread))
                    .is_none_or(|number| *number < question)
            });
            !threads.is_empty()
        });
        let busy = &self.busy;
        let rests =
            |(_, pids): &mut (u64, Vec<u32>)| !pids.iter().any(|pid| busy.contains_key(pid));
        self.ends
            .extract_if(.., rests)
            .map(|(cookie, _)| cookie)
            .collect()
    }

    /// The ends that are given up; none before the time is over.
    pub(super) fn given_up(&mut self) -> Vec<u64> {
        if self.since.elapsed() < PATIENCE {
            return Vec::new();
        }
        self.ends.drain(..).map(|(cookie, _)| cookie).collect()
    }

    pub(super) fn is_over(&self) -> bool {
        self.ends.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use super::Batch;

    #[test]
    fn an_end_rests_once_every_thread_of_every_holder_has_answered_its_question() {
        let ends = vec![(100, vec![1]), (200, vec![1, 2]), (300, vec![3])];
        let threads = |pid: u32| BTreeSet::from([pid * 10, pid * 10 + 1]);
        let mut batch = Batch::new(7, ends, threads);
        assert_eq!(batch.busy().count(), 6);
        let mut seen = HashMap::from([((1, 10), 7), ((1, 11), 5), ((2, 20), 9)]);
        assert!(batch.rested(&seen).is_empty(), "an older question");
        assert_eq!(batch.busy().count(), 4);
        seen.insert((1, 11), 7);
        assert_eq!(batch.rested(&seen), [100]);
        seen.insert((2, 21), 7);
        assert_eq!(batch.rested(&seen), [200]);
        assert!(batch.given_up().is_empty(), "not yet");
        assert!(!batch.is_over());
        seen.extend([((3, 30), 7), ((3, 31), 8)]);
        assert_eq!(batch.rested(&seen), [300]);
        assert!(batch.is_over());
    }
}
