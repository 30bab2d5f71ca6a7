//! A kernel's BTF (include/uapi/linux/btf.h), looked up in place.
//!
//! Own code, for libraries make an object of each of 150 000 types: 65 MB and a third of a second for some 40.

use std::collections::BTreeSet;

/// It is not BTF, or is damaged: what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(&'static str);

/// `BTF_KIND_*`.
const INT: u32 = 1;
pub(super) const PTR: u32 = 2;
const ARRAY: u32 = 3;
pub(super) const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const TYPEDEF: u32 = 8;
const VOLATILE: u32 = 9;
const CONST: u32 = 10;
const RESTRICT: u32 = 11;
pub(super) const FUNC: u32 = 12;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const FLOAT: u32 = 16;
const DECL_TAG: u32 = 17;
const TYPE_TAG: u32 = 18;
const ENUM64: u32 = 19;

/// `struct btf_header` up to `str_len`, and `struct btf_type`, in bytes.
pub(super) const HEADER: u32 = 24;
const TYPE: usize = 12;
pub(super) const MAGIC: u16 = 0xeb9f;
/// How many qualifiers, type names and array dimensions may be behind each other.
const MAX_DEPTH: usize = 32;

/// The types of one BTF, in this machine's byte order.
pub(super) struct Types<'a> {
    section: &'a [u8],
    names: &'a [u8],
    /// Where each type begins in `section`; that with id 1 (0 is void) is the first.
    starts: Vec<u32>,
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// From the structure's begin, in bits.
    pub(super) bits: u32,
    /// In bits; 0 for what is no bit-field.
    pub(super) width: u32,
    /// The id of its type.
    pub(super) id: u32,
}

/// One type: `info` and `size` or `type` of its `struct btf_type`, and what follows that.
struct Type<'a> {
    info: u32,
    value: u32,
    tail: &'a [u8],
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

const fn kind(info: u32) -> u32 {
    info >> 24 & 0x1f
}

/// Bytes behind a `struct btf_type`; `None` for a kind that is not known.
const fn tail(info: u32) -> Option<usize> {
    let count = (info & 0xffff) as usize;
    Some(match kind(info) {
        INT | VAR | DECL_TAG => 4,
        ARRAY => 12,
        STRUCT | UNION | DATASEC | ENUM64 => 12 * count,
        ENUM | FUNC_PROTO => 8 * count,
        // From a pointer on to a type's tag nothing follows; 7 is a forward declaration.
        PTR | 7..=FUNC | FLOAT | TYPE_TAG => 0,
        _ => return None,
    })
}

impl<'a> Types<'a> {
    /// Finds where every type begins.
    ///
    /// # Errors
    ///
    /// [`Malformed`], also for a kind of type that is not known, whose size is not known then.
    pub(super) fn new(btf: &'a [u8]) -> Result<Self, Malformed> {
        const SHORT: Malformed = Malformed("the BTF ends early");
        let at = |at| word(btf, at).ok_or(SHORT);
        if btf.get(..3) != Some(&[&MAGIC.to_ne_bytes()[..], &[1]].concat()) {
            return Err(Malformed(
                "no BTF of version 1 in this machine's byte order",
            ));
        }
        let part = |from: usize| {
            let start = (at(4)? as usize).checked_add(at(from)? as usize);
            let end = start.and_then(|start| start.checked_add(at(from + 4).ok()? as usize));
            let range = start.zip(end).ok_or(SHORT)?;
            btf.get(range.0..range.1).ok_or(SHORT)
        };
        if at(4)? < HEADER {
            return Err(Malformed("the BTF's header is too short"));
        }
        let (section, names) = (part(8)?, part(16)?);
        if names.first() != Some(&0) || names.last() != Some(&0) {
            return Err(Malformed(
                "the BTF's names do not begin and end with nothing",
            ));
        }
        let mut starts = Vec::with_capacity(section.len() / 24);
        let mut start = 0;
        while start < section.len() {
            let (name, info) = word(section, start)
                .zip(word(section, start + 4))
                .ok_or(SHORT)?;
            let tail = tail(info).ok_or(Malformed("a type is of a kind that is not known"))?;
            if name as usize >= names.len() {
                return Err(Malformed("a type's name is not there"));
            }
            starts.push(u32::try_from(start).map_err(|_| Malformed("the BTF is too large"))?);
            start += TYPE + tail;
        }
        if start != section.len() {
            return Err(SHORT);
        }
        Ok(Self {
            section,
            names,
            starts,
        })
    }

    /// The id of the first type of a kind and name, as the kernel's own look-up finds it
    /// (kernel/bpf/btf.c `btf_find_by_name_kind`).
    pub(super) fn id(&self, wanted: u32, name: &str) -> Option<u32> {
        let found = (1..).zip(&self.starts).find(|&(_, &start)| {
            let at = |offset| word(self.section, start as usize + offset);
            at(4).is_some_and(|info| kind(info) == wanted)
                && at(0).is_some_and(|offset| self.is(offset, name))
        });
        found.map(|(id, _)| id)
    }

    /// Whether this is the name at an offset.
    fn is(&self, offset: u32, name: &str) -> bool {
        let rest = self.names.get(offset as usize..).unwrap_or_default();
        rest.strip_prefix(name.as_bytes())
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    fn get(&self, id: u32) -> Option<Type<'a>> {
        let start = *self.starts.get(id.checked_sub(1)? as usize)? as usize;
        let bytes = self.section.get(start..)?;
        let info = word(bytes, 4)?;
        Some(Type {
            info,
            value: word(bytes, 8)?,
            tail: bytes.get(TYPE..TYPE + tail(info)?)?,
        })
    }

    /// The type behind names and qualifiers of it, and its id.
    fn plain(&self, mut id: u32) -> Option<(u32, Type<'a>)> {
        for _ in 0..MAX_DEPTH {
            let found = self.get(id)?;
            if !matches!(
                kind(found.info),
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG
            ) {
                return Some((id, found));
            }
            id = found.value;
        }
        None
    }

    /// Bytes that a type takes.
    pub(super) fn size(&self, mut id: u32) -> Option<u32> {
        let mut of: u32 = 1;
        for _ in 0..MAX_DEPTH {
            let (_, found) = self.plain(id)?;
            let size = match kind(found.info) {
                ARRAY => {
                    of = of.checked_mul(word(found.tail, 8)?)?;
                    id = word(found.tail, 0)?;
                    continue;
                }
                // The kernel's pointers are as long as ours.
                PTR => size_of::<usize>().try_into().ok()?,
                INT | STRUCT | UNION | ENUM | ENUM64 | FLOAT => found.value,
                _ => return None,
            };
            return of.checked_mul(size);
        }
        None
    }

    /// Where a path of members, such as `sk_lock.owned` or `regs[2]`, leads to in a structure.
    pub(super) fn find(&self, structure: u32, path: &str) -> Option<Place> {
        let mut place = Place {
            bits: 0,
            width: 0,
            id: structure,
        };
        for part in path.split('.') {
            let mut words = part.split(['[', ']']).filter(|word| !word.is_empty());
            let inner = self.member(place.id, words.next()?)?;
            place = Place {
                bits: place.bits.checked_add(inner.bits)?,
                ..inner
            };
            for index in words {
                let (_, array) = self.plain(place.id)?;
                let index: u32 = index.parse().ok()?;
                if kind(array.info) != ARRAY || index >= word(array.tail, 8)? {
                    return None;
                }
                place.id = word(array.tail, 0)?;
                let bits = self.size(place.id)?.checked_mul(8)?.checked_mul(index)?;
                place.bits = place.bits.checked_add(bits)?;
            }
        }
        Some(place)
    }

    /// A member by its name, also one of a member that has none.
    fn member(&self, structure: u32, name: &str) -> Option<Place> {
        let mut seen = BTreeSet::new();
        let mut open = vec![(structure, 0_u32)];
        while let Some((id, begin)) = open.pop() {
            let Some((id, outer)) = self.plain(id) else {
                continue;
            };
            // No structure is in itself, whatever a damaged BTF says.
            if !matches!(kind(outer.info), STRUCT | UNION) || !seen.insert(id) {
                continue;
            }
            for member in outer.tail.chunks_exact(12) {
                let (named, offset) = (word(member, 0)?, word(member, 8)?);
                // `kind_flag`: a bit-field's width is above its offset.
                let (bits, width) = match outer.info >> 31 {
                    0 => (offset, 0),
                    _ => (offset & 0xff_ffff, offset >> 24),
                };
                let place = Place {
                    bits: begin.checked_add(bits)?,
                    width,
                    id: word(member, 4)?,
                };
                if self.is(named, name) {
                    return Some(place);
                }
                if self.is(named, "") {
                    open.push((place.id, place.bits));
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
