//! Kernel functions that programs are attached to, by their ids in the kernel's BTF.

use aya::{Btf, BtfError, Endianness};
use sockway_common::offsets::UNKNOWN;

use super::btf::{FUNC, HEADER, MAGIC, PTR, Types};

/// `tcp_ioctl`: who asks for FIONREAD.
pub(crate) const IOCTL: &str = "tcp_ioctl";
/// `tcp_bpf_ioctl`: the same for sockets in a sockhash, where they have one of their own.
pub(crate) const JOINED_IOCTL: &str = "tcp_bpf_ioctl";
/// `tcp_splice_read`: who splices.
pub(crate) const SPLICE: &str = "tcp_splice_read";
/// The ends of receiving calls, where no tracepoint shows them (before 6.3).
pub(crate) const RECEIVE_V4: &str = "inet_recvmsg";
/// See [`RECEIVE_V4`].
pub(crate) const RECEIVE_V6: &str = "inet6_recvmsg";

/// `BTF_MAX_TYPE`.
const MAX_ID: u32 = 0x000f_ffff;

const NAMES: [&str; 5] = [IOCTL, JOINED_IOCTL, SPLICE, RECEIVE_V4, RECEIVE_V6];

/// Ids of the functions that programs are attached to; [`UNKNOWN`] where the kernel lacks one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Functions([u32; NAMES.len()]);

impl Functions {
    /// A kernel that names none.
    pub const NONE: Self = Self([UNKNOWN; NAMES.len()]);

    pub(super) fn find(types: &Types<'_>) -> Self {
        Self(NAMES.map(|name| types.id(FUNC, name).unwrap_or(UNKNOWN)))
    }

    /// Every function with its id; `None` where the kernel lacks it.
    #[must_use]
    pub fn table(&self) -> Vec<(String, Option<u32>)> {
        let known = |id: u32| (id != UNKNOWN).then_some(id);
        let rows = NAMES.iter().zip(self.0);
        rows.map(|(name, id)| ((*name).to_owned(), known(id)))
            .collect()
    }

    /// The functions that [`Self::table`] shows; rows of other names are left out.
    #[must_use]
    pub fn from_table(rows: &[(String, Option<u32>)]) -> Self {
        Self(NAMES.map(|name| {
            let row = rows.iter().find(|row| row.0 == name);
            let id = row.and_then(|row| row.1);
            id.filter(|id| (1..=MAX_ID).contains(id)).unwrap_or(UNKNOWN)
        }))
    }

    /// A BTF with these functions at their ids and pointers to void at the others: aya takes a
    /// function's name, and asks a BTF for its id. So the kernel's own is not read again for that.
    ///
    /// # Errors
    ///
    /// None, unless aya comes to read BTF differently.
    pub fn btf(&self) -> Result<Btf, BtfError> {
        let mut names = vec![0];
        let mut there = Vec::new();
        for (name, id) in NAMES.iter().zip(self.0) {
            if id != UNKNOWN {
                there.push((id, length(&names)));
                names.extend_from_slice(name.as_bytes());
                names.push(0);
            }
        }
        let last = there.iter().map(|(id, _)| *id).max().unwrap_or(0);
        let size = 12 * last;
        let mut btf = MAGIC.to_ne_bytes().to_vec();
        btf.extend([1, 0]);
        let header = [HEADER, 0, size, size, length(&names)];
        let types = (1..=last).flat_map(|id| {
            let function = there.iter().find(|(at, _)| *at == id);
            function.map_or([0, PTR << 24, 0], |(_, name)| [*name, FUNC << 24, 0])
        });
        btf.extend(header.into_iter().chain(types).flat_map(u32::to_ne_bytes));
        btf.append(&mut names);
        Btf::parse(&btf, Endianness::default())
    }
}

/// Of names, which are few.
fn length(of: &[u8]) -> u32 {
    u32::try_from(of.len()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::{FUNC, Functions, MAX_ID, NAMES, Types, UNKNOWN};

    #[test]
    fn a_table_says_it_all() {
        let functions = Functions([7, UNKNOWN, 3, 150_000, 1]);
        let mut rows = functions.table();
        assert_eq!(rows[0], ("tcp_ioctl".to_owned(), Some(7)));
        assert_eq!(Functions::from_table(&rows), functions);
        assert_eq!(Functions::from_table(&[]), Functions::NONE);
        rows[0].1 = Some(0);
        rows[2].1 = Some(MAX_ID + 1);
        let bounded = Functions([UNKNOWN, UNKNOWN, UNKNOWN, 150_000, 1]);
        assert_eq!(Functions::from_table(&rows), bounded, "no id of a BTF");
    }

    #[test]
    fn each_is_at_its_id() {
        for ids in [[7, UNKNOWN, 3, 150_000, 1], [UNKNOWN; 5]] {
            let btf = Functions(ids).btf().unwrap().to_bytes();
            let types = Types::new(&btf).unwrap();
            let found = NAMES.map(|name| types.id(FUNC, name).unwrap_or(UNKNOWN));
            assert_eq!(found, ids);
        }
    }
}
