//! Bytes that betray any change: every byte depends on the connection's seed,
//! the direction and its position, so that a byte lost, doubled, moved or
//! taken from another connection is seen at once.

use std::fmt;

/// Which way a stream flows; the two directions of a connection never look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
    /// What a server says before it knows the connection's seed.
    Greeting,
}

impl Direction {
    const fn salt(self) -> u64 {
        match self {
            Self::Up => 0x7570_7570_7570_7570,
            Self::Down => 0x646f_776e_646f_776e,
            Self::Greeting => 0x6772_6565_7469_6e67,
        }
    }
}

/// One stream of bytes and how far it has come.
#[derive(Clone, Debug)]
pub struct Pattern {
    key: u64,
    at: u64,
}

/// Bytes that are not those expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// Position in the stream of the first wrong byte.
    pub offset: u64,
    /// What came, from there on.
    pub got: Vec<u8>,
    /// What should have come.
    pub want: Vec<u8>,
    /// Where in the stream the bytes that came belong, if anywhere near.
    pub belongs_at: Option<u64>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            offset,
            got,
            want,
            belongs_at,
        } = self;
        write!(
            f,
            "wrong byte at offset {offset}: got {got:02x?}, want {want:02x?}"
        )?;
        match belongs_at {
            Some(at) => write!(f, " (they belong at offset {at})"),
            None => write!(f, " (they belong nowhere within {SEARCH} bytes)"),
        }
    }
}

/// How many bytes of a mismatch are shown and searched for.
const SHOWN: usize = 16;
/// How far around the expected position misplaced bytes are searched.
const SEARCH: u64 = 4 << 20;

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finaliser of `SplitMix64`: every input bit reaches every output bit.
pub const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// `count` bytes of the stream of a seed.
pub fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    Pattern::new(seed, Direction::Up).peek(&mut bytes);
    bytes
}

impl Pattern {
    /// The stream of a connection's direction, from its first byte.
    pub const fn new(seed: u64, direction: Direction) -> Self {
        Self {
            key: mix(seed ^ direction.salt()),
            at: 0,
        }
    }

    const fn word(&self, index: u64) -> [u8; 8] {
        mix(self.key.wrapping_add(index.wrapping_mul(GOLDEN))).to_le_bytes()
    }

    /// Moves on by `bytes` without making them.
    pub const fn skip(&mut self, bytes: u64) {
        self.at += bytes;
    }

    /// Writes the next bytes of the stream into `buf` without moving on.
    pub fn peek(&self, buf: &mut [u8]) {
        let mut index = self.at / 8;
        let lead = usize::try_from(self.at % 8).unwrap_or(0);
        let first = if lead == 0 {
            0
        } else {
            (8 - lead).min(buf.len())
        };
        let (head, body) = buf.split_at_mut(first);
        if !head.is_empty() {
            head.copy_from_slice(&self.word(index)[lead..lead + head.len()]);
            index += 1;
        }
        let mut words = body.chunks_exact_mut(8);
        for chunk in &mut words {
            chunk.copy_from_slice(&self.word(index));
            index += 1;
        }
        let tail = words.into_remainder();
        let word = self.word(index);
        tail.copy_from_slice(&word[..tail.len()]);
    }

    /// Compares `buf` with the next bytes of the stream and moves on.
    ///
    /// `scratch` is overwritten; it grows to the size of `buf`.
    pub fn check(&mut self, buf: &[u8], scratch: &mut Vec<u8>) -> Result<(), Mismatch> {
        scratch.resize(buf.len(), 0);
        self.peek(scratch);
        if scratch == buf {
            self.skip(buf.len() as u64);
            return Ok(());
        }
        let first = buf
            .iter()
            .zip(scratch.iter())
            .take_while(|(a, b)| a == b)
            .count();
        let got = buf[first..].iter().copied().take(SHOWN).collect::<Vec<_>>();
        let want = scratch[first..].iter().copied().take(SHOWN).collect();
        let offset = self.at + first as u64;
        let belongs_at = self.find(&got, offset);
        Err(Mismatch {
            offset,
            got,
            want,
            belongs_at,
        })
    }

    /// Where near `around` these bytes stand in the stream. Fewer than 8 bytes prove nothing.
    fn find(&self, bytes: &[u8], around: u64) -> Option<u64> {
        if bytes.len() < 8 {
            return None;
        }
        let from = around.saturating_sub(SEARCH / 2);
        let probe = Self {
            key: self.key,
            at: from,
        };
        let mut stretch = vec![0; usize::try_from(SEARCH).unwrap_or(0)];
        probe.peek(&mut stretch);
        let found = stretch
            .windows(bytes.len())
            .position(|window| window == bytes)?;
        Some(from + found as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::{Direction, Pattern, bytes};

    #[test]
    fn streams_differ_and_repeat() {
        assert_eq!(bytes(1, 100), bytes(1, 100));
        assert_ne!(bytes(1, 100), bytes(2, 100));
        assert_eq!(bytes(3, 1000)[..10], bytes(3, 10));
        assert_eq!(bytes(1, 13).len(), 13);
    }

    #[test]
    fn any_split_gives_the_same_stream() {
        let whole = Pattern::new(7, Direction::Up);
        let mut expected = vec![0; 1000];
        whole.peek(&mut expected);
        for step in 1..40 {
            let mut pattern = Pattern::new(7, Direction::Up);
            let mut scratch = Vec::new();
            for part in expected.chunks(step) {
                pattern.check(part, &mut scratch).expect("same stream");
            }
        }
    }

    #[test]
    fn directions_and_seeds_differ() {
        let mut first = [0; 64];
        let mut second = [0; 64];
        Pattern::new(7, Direction::Up).peek(&mut first);
        Pattern::new(7, Direction::Down).peek(&mut second);
        assert_ne!(first, second);
        Pattern::new(8, Direction::Up).peek(&mut second);
        assert_ne!(first, second);
    }

    #[test]
    fn a_skipped_stretch_is_found_and_named() {
        let mut bytes = vec![0; 4096];
        Pattern::new(1, Direction::Down).peek(&mut bytes);
        bytes.drain(100..300);
        let error = Pattern::new(1, Direction::Down)
            .check(&bytes, &mut Vec::new())
            .expect_err("200 bytes are missing");
        assert_eq!((error.offset, error.belongs_at), (100, Some(300)));
    }

    #[test]
    fn bytes_of_another_connection_belong_nowhere() {
        let mut bytes = vec![0; 64];
        Pattern::new(1, Direction::Down).peek(&mut bytes);
        let error = Pattern::new(2, Direction::Down)
            .check(&bytes, &mut Vec::new())
            .expect_err("another connection");
        assert_eq!((error.offset, error.belongs_at), (0, None));
    }
}
