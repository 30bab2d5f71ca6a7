//! What a guest says on its console, as `init.sh` describes it.

use std::collections::BTreeMap;

use crate::ring::{Count, harness_line, total_line};

/// Before every line that is for us.
const MARK: &str = "@@ ";
/// Words of a kernel in trouble: nothing that follows can be trusted.
const TROUBLE: [&str; 6] = [
    "Kernel panic",
    "BUG: ",
    "Oops: ",
    "soft lockup",
    "general protection fault",
    "rcu_sched self-detected stall",
];

/// One check and how it ended.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// What it counted; a program that counts nothing is one check.
    pub count: Count,
    /// What failed, by name.
    pub failures: Vec<String>,
    /// How long it took by the guest's clock, seconds; `None` while it runs.
    pub seconds: Option<u64>,
}

/// All that was understood so far.
#[derive(Debug, Default, Clone)]
pub struct Console {
    /// The kernel's release.
    pub release: Option<String>,
    /// Checks in the order in which they ran.
    pub checks: Vec<Check>,
    /// Single facts.
    pub facts: BTreeMap<String, String>,
    /// The guest came to its end.
    pub done: bool,
    /// The kernel's own words of trouble.
    pub trouble: Option<String>,
}

/// What a line meant.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// A check begins.
    Begin(String),
    /// A check ended.
    End(Check),
    /// The guest is through.
    Done,
    /// The kernel is in trouble.
    Trouble,
    /// Nothing for us.
    Other,
}

impl Console {
    /// Takes one line in.
    pub fn line(&mut self, line: &str) -> Event {
        let line = line.trim_end();
        // A kernel's message may stand before the mark on the same line.
        if let Some((_, words)) = line.split_once(MARK) {
            return self.marked(words);
        }
        if TROUBLE.iter().any(|word| line.contains(word)) {
            self.trouble.get_or_insert_with(|| line.to_owned());
            return Event::Trouble;
        }
        if let Some(check) = self.running() {
            if let Some(count) = harness_line(line).or_else(|| total_line(line)) {
                check.count.merge(count);
            } else if let Some(name) = failure(line)
                && !check.failures.contains(&name)
            {
                check.failures.push(name);
            }
        }
        Event::Other
    }

    fn running(&mut self) -> Option<&mut Check> {
        let last = self.checks.last_mut();
        last.filter(|check| check.seconds.is_none())
    }

    fn marked(&mut self, words: &str) -> Event {
        let (verb, rest) = words.split_once(' ').unwrap_or((words, ""));
        match verb {
            "kernel" => self.release = Some(rest.to_owned()),
            "fact" => {
                let (name, value) = rest.split_once(' ').unwrap_or((rest, ""));
                self.facts.insert(name.to_owned(), value.to_owned());
            }
            "begin" => {
                self.checks.push(Check {
                    name: rest.to_owned(),
                    ..Check::default()
                });
                return Event::Begin(rest.to_owned());
            }
            "end" => return self.end(rest),
            "done" => {
                self.done = true;
                return Event::Done;
            }
            _ => {}
        }
        Event::Other
    }

    /// `CHECK EXIT-CODE SECONDS`.
    fn end(&mut self, rest: &str) -> Event {
        let words: Vec<_> = rest.split(' ').collect();
        let Some(check) = self.running() else {
            return Event::Other;
        };
        let [name, code, seconds] = words[..] else {
            return Event::Other;
        };
        if name != check.name {
            return Event::Other;
        }
        check.seconds = Some(seconds.parse().unwrap_or(0));
        if code != "0" && check.count.failed == 0 {
            check.count.failed = 1;
            check.failures.push(format!("it ended with code {code}"));
        } else if check.count == Count::default() {
            check.count.passed = 1;
        }
        Event::End(check.clone())
    }

    /// After the last line: what did not come to its end failed, and so did `expected` checks
    /// that never began.
    pub fn close(&mut self, expected: &[String], why: &str) {
        if self.done {
            return;
        }
        let why = self.trouble.clone().unwrap_or_else(|| why.to_owned());
        if let Some(check) = self.running() {
            check.count.failed += 1;
            check.failures.push(why);
            check.seconds = Some(0);
        }
        for name in expected {
            if !self.checks.iter().any(|check| check.name == *name) {
                self.checks.push(Check {
                    name: name.clone(),
                    count: Count {
                        passed: 0,
                        failed: 1,
                    },
                    failures: vec!["not run".to_owned()],
                    seconds: Some(0),
                });
            }
        }
    }

    /// Every check's count together.
    pub fn count(&self) -> Count {
        let mut count = Count::default();
        for check in &self.checks {
            count.merge(check.count);
        }
        count
    }

    /// A check of that name.
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }
}

/// The name of something that failed: of a test of cargo's harness, a case of
/// `sockway-e2e test`, a row of `sockway-semantics`.
fn failure(line: &str) -> Option<String> {
    let name = if let Some(rest) = line.strip_prefix("failed: ") {
        rest
    } else if let Some(rest) = line.strip_prefix("test ") {
        rest.strip_suffix(" ... FAILED")?
    } else {
        let row = line.trim_end();
        let row = row
            .strip_suffix(" NO")
            .or_else(|| row.strip_suffix(" NOW YES"))?;
        row.split_once("  ")?.0
    };
    Some(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(text: &str) -> Console {
        let mut console = Console::default();
        for line in text.lines() {
            console.line(line);
        }
        console
    }

    const GOOD: &str = "[    0.1] booting\n@@ kernel 6.1.0\n@@ fact tls yes\n@@ begin load\n\
        installed\n@@ end load 0 3\n@@ begin semantics\n\
        FIONREAD       ok     DIFFERS    tcp        DIFFERS    tcp        NO\r\n\
        echo           ok     fast       tcp        fast       tcp        yes\n\
        70 passed, 1 failed\n[    9.9] a message@@ end semantics 1 42\n@@ done\n";

    #[test]
    fn checks_are_counted_and_failures_named() {
        let console = hear(GOOD);
        assert_eq!(console.release.as_deref(), Some("6.1.0"));
        assert_eq!(console.facts["tls"], "yes");
        assert!(console.done);
        let load = console.check("load").unwrap();
        assert_eq!((load.count.passed, load.count.failed), (1, 0));
        let semantics = console.check("semantics").unwrap();
        assert_eq!((semantics.count.passed, semantics.count.failed), (70, 1));
        assert_eq!(semantics.failures, ["FIONREAD"]);
        assert_eq!(semantics.seconds, Some(42));
        assert_eq!(console.count().passed, 71);
    }

    #[test]
    fn a_code_without_a_failed_test_is_a_failure() {
        let console = hear("@@ begin integrity\n3 passed, 0 failed\n@@ end integrity 137 9\n");
        let check = console.check("integrity").unwrap();
        assert_eq!((check.count.passed, check.count.failed), (3, 1));
        assert!(check.failures[0].contains("137"));
    }

    #[test]
    fn a_panic_fails_the_check_and_all_that_were_to_come() {
        let mut console = Console::default();
        console.line("@@ begin load");
        let line = "[  3.1] Kernel panic - not syncing: Fatal exception";
        assert_eq!(console.line(line), Event::Trouble);
        console.close(&["load".to_owned(), "semantics".to_owned()], "it ended");
        assert_eq!(console.count().failed, 2);
        assert!(console.check("load").unwrap().failures[0].contains("Fatal"));
        assert_eq!(console.check("semantics").unwrap().failures, ["not run"]);
    }

    #[test]
    fn an_end_without_a_word_fails() {
        let mut console = hear("@@ begin load\n");
        console.close(&["load".to_owned()], "qemu ended");
        assert_eq!(console.count().failed, 1);
        assert_eq!(console.check("load").unwrap().failures, ["qemu ended"]);
    }

    #[test]
    fn the_end_of_another_check_is_not_taken() {
        let console = hear("@@ begin load\n@@ end other 0 1\n");
        assert_eq!(console.check("load").unwrap().seconds, None);
    }

    #[test]
    fn the_harness_is_understood() {
        let console = hear(
            "@@ begin datapath\ntest a ... ok\ntest b ... FAILED\n\
             test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out\n\
             @@ end datapath 101 1\n",
        );
        let check = console.check("datapath").unwrap();
        assert_eq!((check.count.passed, check.count.failed), (1, 1));
        assert_eq!(check.failures, ["b"]);
    }
}
