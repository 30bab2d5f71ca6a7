//! Bytes that betray any change: every byte depends on a seed and on its position.

/// `count` bytes of the stream `seed`.
pub(crate) fn bytes(seed: u64, count: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(count + 8);
    let mut word = 0u64;
    while bytes.len() < count {
        bytes.extend(mix(seed.wrapping_mul(0x9e37_79b9).wrapping_add(word)).to_le_bytes());
        word += 1;
    }
    bytes.truncate(count);
    bytes
}

/// The finaliser of `SplitMix64`: every input bit reaches every output bit.
const fn mix(mut z: u64) -> u64 {
    z = z.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn streams_differ_and_repeat() {
        assert_eq!(bytes(1, 100), bytes(1, 100));
        assert_ne!(bytes(1, 100), bytes(2, 100));
        assert_eq!(bytes(3, 1000)[..10], bytes(3, 10));
        assert_eq!(bytes(1, 13).len(), 13);
    }
}
