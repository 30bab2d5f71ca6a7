//! IP addresses as map keys.

/// An IPv6 address, or an IPv4 one as `::ffff:a.b.c.d`: 16 bytes, network byte order.
///
/// One form for both families makes IPv4 sockets, IPv6 sockets and IPv4
/// traffic on `AF_INET6` sockets (Go and Java listeners on `::`) one case.
/// Held as four words in memory order (the kernel's `__be32`), because the BPF
/// target moves words in one instruction and unaligned bytes one at a time.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IpKey([u32; 4]);

/// The third word of `::ffff:0:0/96`.
const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

impl IpKey {
    /// From the four bytes of an IPv4 address in network byte order.
    #[inline(always)]
    #[must_use]
    pub const fn from_v4(v4: [u8; 4]) -> Self {
        Self::from_be32(u32::from_ne_bytes(v4))
    }

    /// From the kernel's `__be32` as it lies in memory.
    #[inline(always)]
    #[must_use]
    pub const fn from_be32(be: u32) -> Self {
        Self([0, 0, MAPPED, be])
    }

    /// From the kernel's four `__be32` words of an IPv6 address as they lie in memory.
    #[inline(always)]
    #[must_use]
    pub const fn from_be32x4(words: [u32; 4]) -> Self {
        Self(words)
    }

    /// The four `__be32` words as they lie in memory.
    #[inline(always)]
    #[must_use]
    pub const fn words(self) -> [u32; 4] {
        self.0
    }

    #[inline(always)]
    const fn is(self, other: Self) -> bool {
        let (a, b) = (self.0, other.0);
        a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3]
    }

    /// An IPv4 address, mapped.
    #[inline(always)]
    #[must_use]
    pub const fn is_v4(self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == MAPPED
    }

    /// 127.0.0.1 or `::1`: where Istio's REDIRECT leads a pod's own connections.
    #[inline(always)]
    #[must_use]
    pub const fn is_loopback(self) -> bool {
        self.is(LOOPBACK_V4) || self.is(LOOPBACK_V6)
    }

    /// 127.0.0.6 or `::6`: the source address of Envoy's connections to its own application.
    #[inline(always)]
    #[must_use]
    pub const fn is_envoy_source(self) -> bool {
        self.is(ENVOY_SOURCE_V4) || self.is(ENVOY_SOURCE_V6)
    }
}

const LOOPBACK_V4: IpKey = IpKey::from_v4([127, 0, 0, 1]);
const LOOPBACK_V6: IpKey = IpKey([0, 0, 0, u32::from_ne_bytes([0, 0, 0, 1])]);
const ENVOY_SOURCE_V4: IpKey = IpKey::from_v4([127, 0, 0, 6]);
const ENVOY_SOURCE_V6: IpKey = IpKey([0, 0, 0, u32::from_ne_bytes([0, 0, 0, 6])]);

#[cfg(feature = "user")]
mod user {
    extern crate std;
    use super::IpKey;
    use core::fmt;
    use std::net::{IpAddr, Ipv6Addr};

    crate::impl_pod!(IpKey);

    impl From<IpAddr> for IpKey {
        fn from(ip: IpAddr) -> Self {
            match ip {
                IpAddr::V4(v4) => Self::from_v4(v4.octets()),
                IpAddr::V6(v6) => {
                    let mut words = [0; 4];
                    for (word, bytes) in words.iter_mut().zip(v6.octets().as_chunks().0) {
                        *word = u32::from_ne_bytes(*bytes);
                    }
                    Self(words)
                }
            }
        }
    }

    impl From<IpKey> for IpAddr {
        fn from(key: IpKey) -> Self {
            let mut octets = [0; 16];
            for (bytes, word) in octets.chunks_exact_mut(4).zip(key.0) {
                bytes.copy_from_slice(&word.to_ne_bytes());
            }
            let v6 = Ipv6Addr::from(octets);
            v6.to_ipv4_mapped().map_or(Self::V6(v6), Self::V4)
        }
    }

    impl fmt::Display for IpKey {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            IpAddr::from(*self).fmt(f)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::IpKey;

    #[test]
    fn v4_is_mapped() {
        let key = IpKey::from_be32(u32::from_ne_bytes([127, 0, 0, 1]));
        assert!(key.is_loopback());
        assert!(!key.is_envoy_source());
        assert_eq!(key.0[2].to_ne_bytes(), [0, 0, 0xff, 0xff]);
        assert_eq!(key.0[3].to_ne_bytes(), [127, 0, 0, 1]);
    }

    #[test]
    fn v6_keeps_its_bytes() {
        let mut words = [0u32; 4];
        words[3] = u32::from_ne_bytes([0, 0, 0, 6]);
        assert!(IpKey::from_be32x4(words).is_envoy_source());
    }
}
