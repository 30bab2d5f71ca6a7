//! Calls of `bpf_rdonly_cast` in place of the programs' placeholders ([`sockway_common::cast`]).

use std::borrow::Cow;

use aya::programs::ProgramType;
use aya::sys::BpfHelper;
use sockway_common::cast::MARK;
use sockway_common::config::{Config, typed};
use sockway_common::offsets::Offsets;

use crate::{probe, sys};

/// An instruction of include/uapi/linux/bpf.h `struct bpf_insn`, as it lies in an object file for
/// this machine: opcode, registers, offset, immediate.
type Instruction = [u8; 8];

/// `BPF_ALU64 | BPF_MOV | BPF_K` and `| BPF_X`.
const MOVE_NUMBER: u8 = 0xb7;
const MOVE_REGISTER: u8 = 0xbf;
/// `BPF_JMP | BPF_CALL`, and what its source register says for a function of the kernel.
const CALL: u8 = 0x85;
const KERNEL_FUNCTION: u8 = 2;
/// `BPF_JMP | BPF_EXIT`.
const EXIT: u8 = 0x95;

/// Kinds of programs that cast: `enum bpf_prog_type`.
const SOCK_OPS: u32 = 13;
const SK_MSG: u32 = 16;
const RAW_TRACEPOINT: u32 = 17;

const fn instruction(opcode: u8, target: u8, source: u8, immediate: u32) -> Instruction {
    // The registers share a byte; which half is whose depends on the byte order.
    let registers = if cfg!(target_endian = "big") {
        target << 4 | source
    } else {
        source << 4 | target
    };
    let [a, b, c, d] = immediate.to_ne_bytes();
    [opcode, registers, 0, 0, a, b, c, d]
}

/// What a placeholder for the type at an index looks like.
fn placeholder(index: u32) -> [Instruction; 2] {
    [
        instruction(MOVE_NUMBER, 2, 0, MARK | index),
        instruction(MOVE_REGISTER, 0, 1, 0),
    ]
}

/// The cast of `r1` to the type with one id in the kernel's BTF, by its function with another;
/// the pointer is in `r0`.
const fn call(kind: u32, function: u32) -> [Instruction; 2] {
    [
        instruction(MOVE_NUMBER, 2, 0, kind),
        instruction(CALL, 0, KERNEL_FUNCTION, function),
    ]
}

/// The object with calls in place of its placeholders where it is to be loaded with
/// [`typed::ANY`]; else as it is, for no program gets to them then.
#[must_use]
pub fn link<'a>(object: &'a [u8], config: &Config) -> Cow<'a, [u8]> {
    if config.typed < typed::ANY {
        return Cow::Borrowed(object);
    }
    let mut object = object.to_vec();
    for (index, &kind) in (0..).zip(&config.offsets.cast_types) {
        let placeholder = placeholder(index).concat();
        let call = call(kind, config.offsets.cast_function).concat();
        // Sections of instructions begin at multiples of an instruction's size.
        for at in (0..object.len()).step_by(size_of::<Instruction>()) {
            if object[at..].starts_with(&placeholder) {
                object[at..at + call.len()].copy_from_slice(&call);
            }
        }
    }
    Cow::Owned(object)
}

/// Which pointers the programs may follow on this kernel ([`typed`]). The kernel is asked with
/// small programs of each kind, so that it never refuses the real ones for it.
#[must_use]
pub fn level(offsets: &Offsets) -> u32 {
    if !probe::has_typed_pointers() {
        return typed::NONE;
    }
    if offsets.casts()
        && [ProgramType::SkMsg, ProgramType::RawTracePoint]
            .into_iter()
            .all(|kind| probe::has(kind, BpfHelper::BPF_FUNC_task_pt_regs))
        && [SOCK_OPS, SK_MSG, RAW_TRACEPOINT]
            .into_iter()
            .all(|kind| takes_casts(kind, offsets))
    {
        typed::ANY
    } else {
        typed::OWN
    }
}

/// Whether the kernel takes a program of this kind that casts its context and ends.
fn takes_casts(kind: u32, offsets: &Offsets) -> bool {
    let [number, call] = call(offsets.cast_types[0], offsets.cast_function);
    let program = [
        number,
        call,
        instruction(MOVE_NUMBER, 0, 0, 1),
        instruction(EXIT, 0, 0, 0),
    ];
    sys::takes(kind, &program)
}

#[cfg(test)]
mod tests {
    use super::{Instruction, call, instruction, link, placeholder};
    use sockway_common::cast::TYPES;
    use sockway_common::config::{Config, typed};
    use sockway_common::offsets::Offsets;

    #[test]
    fn every_placeholder_becomes_a_call_and_nothing_else() {
        let other: Instruction = instruction(super::MOVE_REGISTER, 0, 1, 0);
        let mut object = [0; 24].to_vec();
        let mut linked = object.clone();
        for index in 0..TYPES.len() {
            let index = u32::try_from(index).unwrap();
            for (bytes, pair) in [
                (&mut object, placeholder(index)),
                (&mut linked, call(100 + index, 7)),
            ] {
                bytes.extend(other);
                bytes.extend(pair.concat());
            }
        }
        object.extend([1, 2, 3]);
        linked.extend([1, 2, 3]);
        assert_eq!(*link(&object, &Config::UNSET), object, "no such kernel");
        let offsets = Offsets {
            cast_types: [100, 101, 102, 103, 104, 105, 106],
            cast_function: 7,
            ..Offsets::NONE
        };
        let config = Config {
            offsets,
            typed: typed::ANY,
            ..Config::UNSET
        };
        assert_eq!(*link(&object, &config), linked);
    }
}
