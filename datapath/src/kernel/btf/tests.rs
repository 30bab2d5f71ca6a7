use std::fs;
use std::path::{Path, PathBuf};

use btfparse::{Offset, Readable, TypeInformation, TypeVariant};
use proptest::prelude::*;
use sockway_common::cast;
use sockway_common::offsets::{Offsets, UNKNOWN};

use super::super::fields::{FIELDS, GENERATIONS};
use super::super::{BTF, parse, read};
use super::Types;

/// BTF in memory, for the library.
struct Bytes(Vec<u8>);

impl Readable for Bytes {
    fn read(&self, offset: u64, buffer: &mut [u8]) -> btfparse::Result<()> {
        let start = usize::try_from(offset).unwrap();
        buffer.copy_from_slice(&self.0[start..start + buffer.len()]);
        Ok(())
    }
}

/// What the library finds, which makes an object of every type.
fn by_library(btf: Vec<u8>) -> Offsets {
    let types = TypeInformation::new(&Bytes(btf)).unwrap();
    let id = |name: &str, of: fn(&TypeVariant) -> bool| {
        let mut ids = types.get().iter().filter(|(_, kind)| of(kind));
        let found = ids.find(|(id, _)| types.name_of(**id).as_deref() == Some(name));
        found.map(|(id, _)| *id)
    };
    let structure = |name: &str| id(name, |kind| matches!(kind, TypeVariant::Struct(_)));
    let place = |of, path| types.offset_of(structure(of)?, path).ok();
    let size = |id: u32| u32::try_from(types.size_of(id).unwrap()).unwrap();
    let mut found = Offsets::NONE;
    for field in &FIELDS {
        *(field.slot)(&mut found) = match place(field.of, field.path) {
            Some((_, Offset::ByteOffset(bytes))) => bytes,
            _ => UNKNOWN,
        };
    }
    if let Some((_, Offset::BitOffsetAndSize(bit, 1))) = place("tcp_sock", "recvmsg_inq") {
        found.tcp_recvmsg_inq_bit = bit;
    }
    found.regs_size = structure("pt_regs").map_or(UNKNOWN, size);
    let generations = place("mem_cgroup_per_node", GENERATIONS);
    found.memcg_generations_size = generations.map_or(UNKNOWN, |(id, _)| size(id));
    found.cast_types = cast::TYPES.map(|name| structure(name).unwrap_or(UNKNOWN));
    let function = id(cast::FUNCTION, |kind| matches!(kind, TypeVariant::Func(_)));
    found.cast_function = function.unwrap_or(UNKNOWN);
    found
}

/// This kernel's BTF, and those that `SOCKWAY_BTFS` names, by `:`, of other kernels.
fn files() -> Vec<PathBuf> {
    let named = std::env::var_os("SOCKWAY_BTFS");
    let named = named.iter().flat_map(std::env::split_paths);
    let own = Some(PathBuf::from(BTF)).filter(|path| path.exists());
    named.chain(own).collect()
}

#[test]
fn finds_what_a_library_finds() {
    for file in files() {
        let btf = fs::read(&file).unwrap();
        let found = parse(&btf).unwrap().offsets;
        assert_eq!(found, by_library(btf), "{}", file.display());
    }
}

/// A BTF of these types, in words, and names.
fn btf(types: &[u32], names: &[u8]) -> Vec<u8> {
    let sizes = [4 * types.len(), 4 * types.len(), names.len()];
    let [offset, types_size, names_size] = sizes.map(|size| u32::try_from(size).unwrap());
    let mut btf = super::MAGIC.to_ne_bytes().to_vec();
    btf.extend([1, 0]);
    let header = [super::HEADER, 0, types_size, offset, names_size];
    btf.extend(
        header
            .iter()
            .chain(types)
            .flat_map(|word| word.to_ne_bytes()),
    );
    btf.extend(names);
    btf
}

const NAMES: &[u8] = b"\0u64\0pt_regs\0orig_ax\0cs\0regs\0";
/// Where its names begin.
const U64: u32 = 1;
const PT_REGS: u32 = 5;
const ORIG_AX: u32 = 13;
const CS: u32 = 21;
const REGS: u32 = 24;

/// `struct pt_regs`, a forward declaration behind it, and around them what members may be in.
fn sample() -> Vec<u8> {
    let kind = |kind: u32| kind << 24;
    let types: Vec<u32> = [
        &[U64, kind(super::INT), 8, 64][..],
        &[0, kind(super::ARRAY), 0, 1, 1, 4],
        &[REGS, kind(super::TYPEDEF), 2],
        // An anonymous union with a bit-field: `kind_flag`, its width in the highest byte.
        &[0, 1 << 31 | kind(super::UNION) | 1, 8, CS, 1, 1 << 24 | 5],
        &[
            PT_REGS,
            kind(super::STRUCT) | 3,
            48,
            ORIG_AX,
            1,
            64,
            0,
            4,
            128,
            REGS,
            3,
            192,
        ],
        &[PT_REGS, kind(7), 0],
        &[0, kind(super::CONST), 5],
    ]
    .concat();
    btf(&types, NAMES)
}

#[test]
fn a_forward_declaration_hides_no_structure() {
    let btf = sample();
    let types = Types::new(&btf).unwrap();
    assert_eq!(types.id(super::STRUCT, "pt_regs"), Some(5));
    assert_eq!(types.id(super::STRUCT, "pt_reg"), None);
    let at = |path| types.find(7, path).map(|place| (place.bits, place.width));
    assert_eq!(at("orig_ax"), Some((64, 0)));
    assert_eq!(at("cs"), Some((133, 1)), "of a union without a name");
    assert_eq!(at("regs[3]"), Some((384, 0)));
    for none in ["regs[4]", "regs[x]", "cs[0]", "orig_ax.cs", "ds", "", "."] {
        assert_eq!(at(none), None, "{none}");
    }
    assert_eq!(
        [1, 3, 7, 6, 9].map(|id| types.size(id)),
        [Some(8), Some(32), Some(48), None, None]
    );
    let found = parse(&btf).unwrap().offsets;
    assert_eq!(found.regs_size, 48);
    if cfg!(target_arch = "x86_64") {
        assert_eq!(
            (found.regs_call, found.regs_mode),
            (8, UNKNOWN),
            "no byte's offset"
        );
    }
}

#[test]
fn what_is_in_itself_ends() {
    // Qualifiers in a ring, a structure whose nameless members are itself, an array of itself.
    let [volatile, structure, array] = [
        super::VOLATILE << 24,
        super::STRUCT << 24 | 2,
        super::ARRAY << 24,
    ];
    let types = [
        0, volatile, 1, PT_REGS, structure, 8, 0, 2, 0, 0, 2, 8, 0, array, 0, 3, 3, 9,
    ];
    let btf = btf(&types, NAMES);
    let types = Types::new(&btf).unwrap();
    assert_eq!((types.find(2, "cs"), types.find(1, "cs")), (None, None));
    assert_eq!((types.size(1), types.size(3)), (None, None));
    parse(&btf).unwrap();
}

#[test]
fn one_that_ends_early_is_said() {
    let whole = sample();
    for end in 0..whole.len() {
        assert!(parse(&whole[..end]).is_err(), "{end} bytes");
    }
    let mut unknown = whole;
    unknown[24 + 7] = 20;
    assert!(parse(&unknown).is_err(), "a kind of the future");
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), b"not BTF").unwrap();
    let text = read(Some(file.path())).unwrap_err().to_string();
    assert!(text.contains("BTF"), "{text}");
    assert!(read(Some(Path::new("/"))).is_err(), "a directory");
}

#[test]
fn a_damaged_kernels_btf_is_no_panic() {
    let Some(Ok(whole)) = files().last().map(fs::read) else {
        return;
    };
    // Knuth's MMIX: a failure repeats.
    let mut state = 0x5eed_u64;
    let mut below = |end: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % end
    };
    for round in 0..24 {
        let mut damaged = whole.clone();
        for _ in 0..1 << (round / 2) {
            let at = below(damaged.len());
            damaged[at] ^= 1 << below(8);
        }
        damaged.truncate(below(2 * whole.len()));
        let _either = parse(&damaged);
    }
}

proptest! {
    #[test]
    fn a_damaged_btf_is_no_panic(
        bits in prop::collection::vec((0_usize..1000, 0_u8..8), 1..8),
        words in prop::collection::vec((6_usize..60, any::<u32>()), 0..4),
    ) {
        let mut damaged = sample();
        for (at, bit) in bits {
            let at = at % damaged.len();
            damaged[at] ^= 1 << bit;
        }
        for (word, value) in words {
            let at = 4 * word % (damaged.len() - 4);
            damaged[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        }
        if let Ok(types) = Types::new(&damaged) {
            for id in 0..10 {
                let _either = (types.find(id, "regs[2]"), types.find(id, "cs"), types.size(id));
            }
            parse(&damaged).unwrap();
        }
    }
}
