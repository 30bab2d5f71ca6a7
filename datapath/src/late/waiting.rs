//! Ends that were joined late, and the threads that may be in a call that began before.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

/// A thread: its process's number, and its own.
pub(super) type Thread = (u32, u32);

/// Who is not seen elsewhere for so long is given up, until the next pass looks at it anew.
const PATIENCE: Duration = Duration::from_secs(10);

/// Ends that were joined together.
#[derive(Debug)]
struct Batch {
    since: Instant,
    /// The question that was asked after they were joined.
    question: u64,
    /// Ends by cookie, and the processes that hold each.
    ends: Vec<(u64, Vec<u32>)>,
    /// Threads that were not seen elsewhere yet, by process.
    busy: BTreeMap<u32, BTreeSet<u32>>,
}

impl Batch {
    fn new(
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

    /// Takes out the ends whose threads have all been seen elsewhere, or all that are left once the time is
    /// over: those are not seen.
    fn take(&mut self, answered: &HashMap<Thread, u64>) -> Vec<(u64, bool)> {
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
        let mut taken: Vec<(u64, bool)> = self
            .ends
            .extract_if(.., rests)
            .map(|(cookie, _)| (cookie, true))
            .collect();
        if self.since.elapsed() > PATIENCE {
            taken.extend(self.ends.drain(..).map(|(cookie, _)| (cookie, false)));
        }
        taken
    }
}

/// All who are waited for.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// By cookie, with the question that was asked after the end was joined; 0: none yet.
    questions: HashMap<u64, u64>,
    /// Those of which none was asked yet.
    new: Vec<u64>,
    batches: Vec<Batch>,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    pub(super) fn has(&self, cookie: u64) -> bool {
        self.questions.contains_key(&cookie)
    }

    /// One was joined.
    pub(super) fn add(&mut self, cookie: u64) {
        if let Entry::Vacant(vacant) = self.questions.entry(cookie) {
            vacant.insert(0);
            self.new.push(cookie);
        }
    }

    /// One is waited for no more. It may leave, and be joined again: what was seen before that says nothing then.
    pub(super) fn forget(&mut self, cookie: u64) {
        self.questions.remove(&cookie);
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Those that were joined since this was asked last.
    pub(super) fn take_new(&mut self) -> Vec<u64> {
        let questions = &self.questions;
        let mut new = std::mem::take(&mut self.new);
        new.retain(|cookie| questions.get(cookie) == Some(&0));
        new
    }

    /// Waits for these from now on. `ends`: by cookie, with the processes that hold each; `threads`: all of a process.
    pub(super) fn wait(
        &mut self,
        question: u64,
        ends: Vec<(u64, Vec<u32>)>,
        threads: impl Fn(u32) -> BTreeSet<u32>,
    ) {
        let asked = ends.iter().map(|(cookie, _)| (*cookie, question));
        self.questions.extend(asked);
        self.batches.push(Batch::new(question, ends, threads));
    }

    /// The threads that are waited for, each once, and the newest question.
    pub(super) fn busy(&self) -> (HashSet<Thread>, u64) {
        let threads = self.batches.iter().flat_map(|batch| &batch.busy);
        let threads = threads.flat_map(|(pid, threads)| threads.iter().map(|t| (*pid, *t)));
        let newest = self.batches.iter().map(|batch| batch.question).max();
        (threads.collect(), newest.unwrap_or_default())
    }

    /// Those whose threads were all seen elsewhere; they are waited for no more. `answered`: the last
    /// question that each thread has answered.
    pub(super) fn rested(&mut self, answered: &HashMap<Thread, u64>) -> Vec<u64> {
        let mut rested = Vec::new();
        for batch in &mut self.batches {
            for (cookie, seen) in batch.take(answered) {
                if self.questions.get(&cookie) == Some(&batch.question) {
                    self.questions.remove(&cookie);
                    if seen {
                        rested.push(cookie);
                    }
                }
            }
        }
        self.batches.retain(|batch| !batch.ends.is_empty());
        rested
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use super::Waiting;

    /// Two of each process.
    fn threads(pid: u32) -> BTreeSet<u32> {
        BTreeSet::from([pid * 10, pid * 10 + 1])
    }

    #[test]
    fn an_end_rests_once_every_thread_of_every_holder_has_answered_its_question() {
        let mut waiting = Waiting::default();
        for cookie in [100, 200, 300] {
            waiting.add(cookie);
        }
        assert_eq!(waiting.take_new(), [100, 200, 300]);
        let ends = vec![(100, vec![1]), (200, vec![1, 2]), (300, vec![3])];
        waiting.wait(7, ends, threads);
        assert_eq!(waiting.busy().0.len(), 6);
        assert_eq!(waiting.busy().1, 7);
        let mut seen = HashMap::from([((1, 10), 7), ((1, 11), 5), ((2, 20), 9)]);
        assert!(waiting.rested(&seen).is_empty(), "an older question");
        assert_eq!(waiting.busy().0.len(), 4);
        seen.insert((1, 11), 7);
        assert_eq!(waiting.rested(&seen), [100]);
        seen.insert((2, 21), 7);
        assert_eq!(waiting.rested(&seen), [200]);
        assert!(!waiting.has(200) && waiting.has(300));
        seen.extend([((3, 30), 7), ((3, 31), 8)]);
        assert_eq!(waiting.rested(&seen), [300]);
        assert!(waiting.is_empty());
    }

    #[test]
    fn who_left_and_came_back_waits_for_its_own_question() {
        let mut waiting = Waiting::default();
        waiting.add(100);
        assert_eq!(waiting.take_new(), [100]);
        waiting.wait(7, vec![(100, vec![1])], threads);
        waiting.forget(100);
        assert!(!waiting.has(100));
        waiting.add(100);
        let seen = HashMap::from([((1, 10), 7), ((1, 11), 7)]);
        assert!(waiting.rested(&seen).is_empty(), "not asked for yet");
        assert_eq!(waiting.take_new(), [100]);
        waiting.wait(9, vec![(100, vec![1])], threads);
        assert!(waiting.rested(&seen).is_empty(), "seen before it came back");
        let seen = HashMap::from([((1, 10), 9), ((1, 11), 9)]);
        assert_eq!(waiting.rested(&seen), [100]);
    }
}
