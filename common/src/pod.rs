//! What the CNI plugin registers: addresses (`pods`) and attachments (`sandboxes`).

use crate::addr::IpKey;

/// Envoy's outbound port under Istio, where a pod's own connections are redirected to.
pub const DEFAULT_OUTBOUND_PORT: u16 = 15001;
/// Envoy's inbound port under Istio, where connections to the pod are redirected to.
pub const DEFAULT_INBOUND_PORT: u16 = 15006;

/// Addresses that one attachment can register; the plugin refuses more.
pub const MAX_IPS: usize = 16;

/// Identifies an attachment, that is a (container id, interface name) pair:
/// FNV-1a, 128 bits, over `container id`, a NUL byte, `interface name`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OwnerKey([u32; 4]);

impl OwnerKey {
    /// The key of an attachment. The same input gives the same key in every version.
    #[must_use]
    pub fn new(container_id: &str, ifname: &str) -> Self {
        // Constants of FNV-1a 128: http://www.isthe.com/chongo/tech/comp/fnv/
        const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        let bytes = container_id.bytes().chain([0]).chain(ifname.bytes());
        let hash = bytes.fold(OFFSET, |hash, b| (hash ^ u128::from(b)).wrapping_mul(PRIME));
        Self::from_bytes(hash.to_be_bytes())
    }

    /// From the hash's bytes, most significant first.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        // Held as words for the BPF target, which moves bytes one at a time.
        let [a, b, c, d] = match bytes.as_chunks::<4>() {
            ([a, b, c, d], []) => [*a, *b, *c, *d],
            _ => [[0; 4]; 4],
        };
        Self([
            u32::from_ne_bytes(a),
            u32::from_ne_bytes(b),
            u32::from_ne_bytes(c),
            u32::from_ne_bytes(d),
        ])
    }
}

/// Value of `pods`, keyed by [`IpKey`]: what the programs need to know of an address.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodRow {
    /// The attachment that registered the address; only it may take the row out.
    pub owner: OwnerKey,
    /// Envoy's outbound port, host byte order.
    pub outbound_port: u16,
    /// Envoy's inbound port, host byte order.
    pub inbound_port: u16,
    /// One of [`crate::scope`].
    pub scope: u32,
}

/// Value of `sandboxes`, keyed by [`OwnerKey`]: what user space needs to know of an attachment.
///
/// Text fields are UTF-8, cut to fit, padded with NUL bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SandboxRow {
    /// Inode number of the pod's network namespace, 0 where it is not known.
    pub netns_inode: u64,
    /// When the row was written, nanoseconds since the Unix epoch.
    pub since_unix_ns: u64,
    /// How many of `ips` are set.
    pub ip_count: u32,
    /// How far it takes part, and why: the word of a [`Part`](crate::part::Part).
    pub part: u32,
    /// The addresses the attachment registered.
    pub ips: [IpKey; MAX_IPS],
    /// CNI container id.
    pub container_id: [u8; 128],
    /// CNI interface name.
    pub ifname: [u8; 16],
    /// CNI network name: GC speaks for the attachments of one network only.
    pub network: [u8; 64],
    /// Kubernetes namespace, empty where the runtime did not say.
    pub pod_namespace: [u8; 64],
    /// Kubernetes pod name, empty where the runtime did not say.
    pub pod_name: [u8; 256],
}

impl Default for SandboxRow {
    fn default() -> Self {
        Self {
            netns_inode: 0,
            since_unix_ns: 0,
            ip_count: 0,
            part: crate::scope::OFF,
            ips: [IpKey::default(); MAX_IPS],
            container_id: [0; 128],
            ifname: [0; 16],
            network: [0; 64],
            pod_namespace: [0; 64],
            pod_name: [0; 256],
        }
    }
}

impl SandboxRow {
    /// The addresses that are set.
    #[must_use]
    pub fn ips(&self) -> &[IpKey] {
        let count = usize::try_from(self.ip_count)
            .unwrap_or(MAX_IPS)
            .min(MAX_IPS);
        &self.ips[..count]
    }

    /// How far it takes part, and why.
    #[must_use]
    pub const fn part(&self) -> crate::part::Part {
        crate::part::Part::from_word(self.part)
    }
}

/// Copies `text` into a NUL-padded field, cut at a character border where it is too long.
#[must_use]
pub fn text_field<const N: usize>(text: &str) -> [u8; N] {
    let mut end = text.len().min(N);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut field = [0; N];
    field[..end].copy_from_slice(&text.as_bytes()[..end]);
    field
}

/// The text of a NUL-padded field; what is not UTF-8 reads as empty.
#[must_use]
pub fn field_text(field: &[u8]) -> &str {
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    core::str::from_utf8(&field[..end]).unwrap_or("")
}

/// Value of `pod_stats`, keyed by [`IpKey`]: sums of one pod, per CPU.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PodStats {
    /// Connections of which both ends were joined.
    pub paired: u64,
    /// Messages (one per `send` call and socket) that were redirected.
    pub redirected_messages: u64,
    /// Bytes that were redirected.
    pub redirected_bytes: u64,
    /// Messages on paired connections that went by TCP.
    pub tcp_messages: u64,
    /// Bytes on paired connections that went by TCP.
    pub tcp_bytes: u64,
}

impl PodStats {
    /// Adds another CPU's share.
    pub const fn add(&mut self, other: &Self) {
        let Self {
            paired,
            redirected_messages,
            redirected_bytes,
            tcp_messages,
            tcp_bytes,
        } = other;
        self.paired += *paired;
        self.redirected_messages += *redirected_messages;
        self.redirected_bytes += *redirected_bytes;
        self.tcp_messages += *tcp_messages;
        self.tcp_bytes += *tcp_bytes;
    }
}

#[cfg(feature = "user")]
crate::impl_pod!(OwnerKey, PodRow, SandboxRow, PodStats);

const _: () = assert!(size_of::<PodRow>() == 16 + 2 + 2 + 4);
const _: () =
    assert!(size_of::<SandboxRow>() == 8 + 8 + 4 + 4 + 16 * MAX_IPS + 128 + 16 + 64 + 64 + 256);
const _: () = assert!(size_of::<PodStats>() == 5 * 8);

#[cfg(test)]
mod tests {
    use super::{OwnerKey, field_text, text_field};

    #[test]
    fn owner_tells_attachments_apart() {
        assert_ne!(OwnerKey::new("ab", "c"), OwnerKey::new("a", "bc"));
        assert_ne!(OwnerKey::new("id", "eth0"), OwnerKey::new("id", "net1"));
        assert_eq!(OwnerKey::new("id", "eth0"), OwnerKey::new("id", "eth0"));
    }

    #[test]
    fn owner_is_fnv1a_128() {
        // Test vector of the FNV authors for "a" is d228cb696f1a8caf78912b704e4a8964;
        // ours hashes the separator too, so check the first step by hand-known value.
        let step = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |h, &b| {
                    (h ^ u128::from(b)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
                })
        };
        assert_eq!(step(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_eq!(
            OwnerKey::new("a", ""),
            OwnerKey::from_bytes(step(b"a\0").to_be_bytes())
        );
    }

    #[test]
    fn text_is_cut_at_a_character() {
        let field: [u8; 4] = text_field("abcé");
        assert_eq!(field_text(&field), "abc");
        assert_eq!(field_text(&text_field::<4>("abcd")), "abcd");
        assert_eq!(field_text(&text_field::<4>("")), "");
    }
}
