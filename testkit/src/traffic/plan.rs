//! What one connection does, agreed between both ends by a header.

use fastrand::Rng;

use crate::pattern::mix;

/// The shapes of conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Question and answer, in turns.
    Rounds,
    /// Both ends send everything at once, straight after connect.
    Burst,
    /// The client sends, shuts its sending side down, then reads the answer.
    ClientHalfClose,
    /// The server answers and shuts its sending side down, then reads the rest.
    ServerHalfClose,
    /// The client resets the connection in mid-stream.
    ClientAbort,
    /// The server resets the connection after its answer.
    ServerAbort,
}

impl Kind {
    /// Every kind, by its number in the header.
    pub(crate) const ALL: [Self; 6] = [
        Self::Rounds,
        Self::Burst,
        Self::ClientHalfClose,
        Self::ServerHalfClose,
        Self::ClientAbort,
        Self::ServerAbort,
    ];

    /// The word for it in reports.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rounds => "rounds",
            Self::Burst => "burst",
            Self::ClientHalfClose => "client-half-close",
            Self::ServerHalfClose => "server-half-close",
            Self::ClientAbort => "client-abort",
            Self::ServerAbort => "server-abort",
        }
    }

    /// True where one end resets, so that the other may see only part of the stream.
    pub(crate) const fn aborts(self) -> bool {
        matches!(self, Self::ClientAbort | Self::ServerAbort)
    }
}

/// How a conversation in turns ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Ending {
    /// The client shuts down its sending side first.
    ClientShuts,
    /// The server shuts down its sending side first.
    ServerShuts,
    /// The client closes without shutting down.
    ClientCloses,
}

impl Ending {
    /// All of them.
    pub(crate) const ALL: [Self; 3] = [Self::ClientShuts, Self::ServerShuts, Self::ClientCloses];
}

/// One connection's conversation. Sizes in bytes, header and greeting not counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Key of the bytes of both directions.
    pub(crate) seed: u64,
    /// Its shape.
    pub(crate) kind: Kind,
    /// How it ends, where the shape leaves that open.
    pub(crate) ending: Ending,
    /// What the client sends.
    pub(crate) up: u64,
    /// What the server sends.
    pub(crate) down: u64,
    /// Turns, for [`Kind::Rounds`].
    pub(crate) rounds: u16,
    /// Seed of the server's greeting as the client read it, 0 without one.
    pub(crate) greeting: u64,
}

/// Bytes of a header on the wire.
pub(crate) const HEADER: usize = 56;
const MAGIC: u64 = 0x5357_5931_6865_6164;

/// A size between 1 and `max`, each order of magnitude as likely as the next.
pub(crate) fn log_uniform(rng: &mut Rng, max: u64) -> u64 {
    let bits = 64 - max.max(1).leading_zeros();
    let width = rng.u32(1..=bits);
    let low = 1u64 << (width - 1);
    rng.u64(low..(low << 1).min(max.saturating_add(1)).max(low + 1))
        .clamp(1, max.max(1))
}

/// What random conversations are like.
#[derive(Clone, Debug)]
pub(crate) struct Shapes {
    /// One of these.
    pub(crate) kinds: Vec<Kind>,
    /// Bytes each way: least and most.
    pub(crate) sizes: (u64, u64),
    /// Turns at most, for [`Kind::Rounds`].
    pub(crate) turns: u16,
    /// One of these, for [`Kind::Rounds`].
    pub(crate) endings: Vec<Ending>,
}

impl Plan {
    /// A random conversation.
    pub(crate) fn random(rng: &mut Rng, shapes: &Shapes) -> Self {
        let Shapes {
            kinds,
            sizes: (least, most),
            turns,
            endings,
        } = shapes;
        let kind = kinds[rng.usize(..kinds.len())];
        let ending = endings[rng.usize(..endings.len())];
        let mut size = || log_uniform(rng, *most).max(*least);
        let (up, down) = (size(), size());
        let rounds = u64::from(rng.u16(1..=*turns)).min(up).min(down);
        Self {
            seed: rng.u64(..),
            kind,
            ending,
            up,
            down,
            rounds: u16::try_from(rounds).unwrap_or(1),
            greeting: 0,
        }
    }

    /// The same shares of `total` bytes on both ends, one for each turn, none empty.
    pub(crate) fn shares(&self, total: u64) -> Vec<u64> {
        let rounds = u64::from(self.rounds);
        let mut rng = Rng::with_seed(self.seed ^ total);
        let mut left = total;
        (1..=rounds)
            .map(|turn| {
                let most = left - (rounds - turn);
                let share = if turn == rounds {
                    most
                } else {
                    log_uniform(&mut rng, most)
                };
                left -= share;
                share
            })
            .collect()
    }

    /// The header as it goes over the wire.
    pub(crate) fn to_bytes(&self) -> [u8; HEADER] {
        let Self {
            seed,
            kind,
            ending,
            up,
            down,
            rounds,
            greeting,
        } = self;
        let kind = Kind::ALL.iter().position(|k| k == kind).unwrap_or(0) as u64;
        let shape = kind | (*ending as u64) << 8 | u64::from(*rounds) << 16;
        let words = [MAGIC, *seed, *up, *down, *greeting, shape];
        let mut bytes = [0; HEADER];
        for (slot, word) in bytes
            .chunks_exact_mut(8)
            .zip(words.into_iter().chain([sum(&words)]))
        {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Reads a header; `None` where any bit of it is wrong.
    pub(crate) fn from_bytes(bytes: &[u8; HEADER]) -> Option<Self> {
        let mut words = [0; HEADER / 8];
        for (word, slot) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(slot.try_into().ok()?);
        }
        let [magic, seed, up, down, greeting, shape, check] = words;
        if magic != MAGIC || check != sum(&words[..6]) {
            return None;
        }
        let ending = match shape >> 8 & 0xff {
            0 => Ending::ClientShuts,
            1 => Ending::ServerShuts,
            _ => Ending::ClientCloses,
        };
        let kind = *Kind::ALL.get(usize::try_from(shape & 0xff).ok()?)?;
        let rounds = u16::try_from(shape >> 16).ok()?;
        Some(Self {
            seed,
            kind,
            ending,
            up,
            down,
            rounds,
            greeting,
        })
    }
}

fn sum(words: &[u64]) -> u64 {
    words.iter().fold(0, |sum, &word| mix(sum ^ word))
}

#[cfg(test)]
mod tests {
    use super::{Ending, Kind, Plan, Shapes};
    use fastrand::Rng;

    fn shapes(kinds: &[Kind], most: u64) -> Shapes {
        Shapes {
            kinds: kinds.to_vec(),
            sizes: (1, most),
            turns: 16,
            endings: Ending::ALL.to_vec(),
        }
    }

    #[test]
    fn header_survives_the_wire_and_shows_damage() {
        let mut rng = Rng::with_seed(1);
        for _ in 0..200 {
            let plan = Plan::random(&mut rng, &shapes(&Kind::ALL, 1 << 20));
            let mut bytes = plan.to_bytes();
            assert_eq!(Plan::from_bytes(&bytes).as_ref(), Some(&plan));
            let at = rng.usize(..bytes.len());
            bytes[at] ^= 1 << rng.u8(0..8);
            assert_eq!(Plan::from_bytes(&bytes), None);
        }
    }

    #[test]
    fn shares_sum_up_and_none_is_empty() {
        let mut rng = Rng::with_seed(2);
        for _ in 0..500 {
            let plan = Plan::random(&mut rng, &shapes(&[Kind::Rounds], 5000));
            for total in [plan.up, plan.down] {
                let shares = plan.shares(total);
                assert_eq!(shares.iter().sum::<u64>(), total, "{plan:?}");
                assert!(shares.iter().all(|&share| share > 0), "{plan:?}");
            }
        }
    }
}
