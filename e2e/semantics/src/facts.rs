//! What an application sees, and whether two runs saw the same.

use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::pace;

/// One thing seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fact {
    /// What was looked at.
    pub(crate) what: String,
    /// What was seen.
    pub(crate) got: Seen,
    /// What TCP promises; `None` where it promises no certain value.
    pub(crate) want: Option<String>,
}

/// What was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Seen {
    /// Equal or not.
    Text(String),
    /// The same within a factor.
    Amount {
        /// How much.
        amount: u64,
        /// May be so many times as large or as small elsewhere.
        factor: u64,
    },
}

impl Seen {
    /// For a person.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Amount { amount, factor } => format!("{amount} (within {factor}x)"),
        }
    }

    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Amount { amount: a, factor }, Self::Amount { amount: b, .. }) => {
                *a.max(b) <= a.min(b).saturating_mul(*factor)
            }
            _ => self == other,
        }
    }
}

/// One thing that two runs saw differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Deviation {
    /// What was looked at.
    pub(crate) what: String,
    /// What TCP promises, or what the plain run saw.
    pub(crate) expected: String,
    /// What this run saw.
    pub(crate) seen: String,
}

/// Facts that are not what TCP promises.
pub(crate) fn broken(facts: &[Fact]) -> Vec<Deviation> {
    let breaks = |fact: &Fact| {
        let (want, got) = (fact.want.as_ref()?, fact.got.text());
        (*want != got).then(|| Deviation {
            what: fact.what.clone(),
            expected: want.clone(),
            seen: got,
        })
    };
    facts.iter().filter_map(breaks).collect()
}

/// Where a run differs from the plain one.
pub(crate) fn differences(plain: &[Fact], here: &[Fact]) -> Vec<Deviation> {
    const NOTHING: &str = "(did not come so far)";
    let mut found = Vec::new();
    for i in 0..plain.len().max(here.len()) {
        let (a, b) = (plain.get(i), here.get(i));
        if let (Some(a), Some(b)) = (a, b)
            && a.what == b.what
            && a.got.same(&b.got)
        {
            continue;
        }
        let what = b.or(a).map_or_else(String::new, |fact| fact.what.clone());
        let text = |fact: Option<&Fact>| match fact {
            Some(fact) if fact.what == what => fact.got.text(),
            Some(fact) => format!("{}: {}", fact.what, fact.got.text()),
            None => NOTHING.to_owned(),
        };
        found.push(Deviation {
            expected: text(a),
            seen: text(b),
            what,
        });
    }
    found
}

/// Collects facts as a case goes on.
pub(crate) struct Facts {
    emit: Box<dyn FnMut(&Fact)>,
}

impl Facts {
    /// Every fact is handed on at once: a case may hang in the next call.
    pub(crate) fn new(emit: impl FnMut(&Fact) + 'static) -> Self {
        Self {
            emit: Box::new(emit),
        }
    }

    fn add(&mut self, what: &str, got: Seen, want: Option<String>) {
        (self.emit)(&Fact {
            what: what.to_owned(),
            got,
            want,
        });
    }

    /// What was seen, and what TCP promises.
    pub(crate) fn is<T: Debug>(&mut self, what: &str, got: T, want: T) {
        self.add(
            what,
            Seen::Text(format!("{got:?}")),
            Some(format!("{want:?}")),
        );
    }

    /// What was seen, where the kernel's version decides: only compared.
    pub(crate) fn see<T: Debug>(&mut self, what: &str, got: T) {
        self.add(what, Seen::Text(format!("{got:?}")), None);
    }

    /// How much; elsewhere it may be `factor` times as much or as little.
    pub(crate) fn amount(&mut self, what: &str, amount: usize, factor: u64) {
        let amount = u64::try_from(amount).unwrap_or(u64::MAX);
        self.add(what, Seen::Amount { amount, factor }, None);
    }

    /// Bytes, by how many there are and where the first wrong one is.
    pub(crate) fn bytes(&mut self, what: &str, got: &[u8], want: &[u8]) {
        let text = if got == want {
            whole(want.len())
        } else {
            let right = got.iter().zip(want).take_while(|(a, b)| a == b).count();
            if right == got.len() {
                format!("the first {right} of {} bytes", want.len())
            } else if right == want.len() {
                format!("{} bytes more than the {right} expected", got.len() - right)
            } else {
                let next: Vec<_> = got[right..].iter().take(16).collect();
                format!(
                    "{} bytes, wrong from offset {right} on: {next:02x?}",
                    got.len()
                )
            }
        };
        self.add(what, Seen::Text(text), Some(whole(want.len())));
    }

    /// Whether the time since `from` is in a range of milliseconds.
    pub(crate) fn took(&mut self, what: &str, from: Instant, ms: RangeInclusive<u128>) {
        let took = from.elapsed().as_millis();
        let right = format!("within {} to {} ms", ms.start(), ms.end());
        let latest = ms.end() * u128::from(pace::factor());
        // A slow machine's threads begin late.
        let earliest = ms.start() / if pace::factor() > 1 { 2 } else { 1 };
        let text = if (earliest..=latest).contains(&took) {
            right.clone()
        } else {
            format!("{took} ms")
        };
        self.add(what, Seen::Text(text), Some(right));
    }
}

fn whole(count: usize) -> String {
    format!("{count} bytes as sent")
}

#[cfg(test)]
mod tests {
    use super::{Deviation, Fact, Facts, Seen, broken, differences};
    use std::cell::RefCell;
    use std::rc::Rc;

    fn collect(case: impl FnOnce(&mut Facts)) -> Vec<Fact> {
        let list = Rc::new(RefCell::new(Vec::new()));
        let into = Rc::clone(&list);
        case(&mut Facts::new(move |fact| {
            into.borrow_mut().push(fact.clone());
        }));
        list.take()
    }

    #[test]
    fn equal_runs_have_no_differences() {
        let facts = collect(|f| {
            f.is("recv", Ok::<_, nix::Error>(3), Ok(3));
            f.bytes("bytes", b"abc", b"abc");
        });
        assert!(broken(&facts).is_empty());
        assert!(differences(&facts, &facts).is_empty());
    }

    #[test]
    fn other_values_missing_facts_and_more_facts_are_differences() {
        let plain = collect(|f| f.is("recv", Ok(3), Ok::<_, nix::Error>(3)));
        let other = collect(|f| f.is("recv", Err(nix::Error::EAGAIN), Ok(3)));
        let found = differences(&plain, &other);
        let expected = Deviation {
            what: "recv".into(),
            expected: "Ok(3)".into(),
            seen: "Err(EAGAIN)".into(),
        };
        assert_eq!(found, std::slice::from_ref(&expected));
        assert_eq!(broken(&other), [expected]);
        assert_eq!(differences(&plain, &[]).len(), 1);
        assert_eq!(differences(&[], &plain).len(), 1);
    }

    #[test]
    fn amounts_are_compared_by_factor() {
        let amount = |amount| {
            [Fact {
                what: "n".into(),
                got: Seen::Amount { amount, factor: 4 },
                want: None,
            }]
        };
        assert!(differences(&amount(100), &amount(400)).is_empty());
        assert!(differences(&amount(400), &amount(100)).is_empty());
        assert_eq!(differences(&amount(100), &amount(401)).len(), 1);
        assert_eq!(differences(&amount(0), &amount(1)).len(), 1);
    }

    #[test]
    fn wrong_bytes_are_named() {
        let text = |got: &[u8]| collect(|f| f.bytes("b", got, b"abcd"))[0].got.text();
        assert_eq!(text(b"abcd"), "4 bytes as sent");
        assert_eq!(text(b"abc"), "the first 3 of 4 bytes");
        assert_eq!(text(b"abcde"), "1 bytes more than the 4 expected");
        assert_eq!(
            text(b"axcd"),
            "4 bytes, wrong from offset 1 on: [78, 63, 64]"
        );
    }
}
