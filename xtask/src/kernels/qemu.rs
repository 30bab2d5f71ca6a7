//! What qemu shows a guest, by architecture.

use std::process::Command;

use super::{Kernel, version};
use crate::arch::Arch;

/// A guest's memory, MiB; the archive takes some 400 of it.
const MEMORY: &str = "2048";

/// qemu with a machine for that kernel, and nothing in it yet.
///
/// KVM is not to be had in most virtual machines, and emulation is the same everywhere.
pub(super) fn command(kernel: &Kernel) -> Command {
    let mut command = Command::new(program(kernel.arch));
    if kernel.arch == Arch::Arm64 {
        command.args(["-machine", "virt,gic-version=3"]);
    }
    command.args([
        "-accel",
        "tcg",
        "-cpu",
        cpu(kernel),
        "-smp",
        "2",
        "-m",
        MEMORY,
    ]);
    command
}

/// Its name.
pub(super) const fn program(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "qemu-system-x86_64",
        Arch::Arm64 => "qemu-system-aarch64",
    }
}

/// The first serial line, as kernels name it.
pub(super) const fn console(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "ttyS0",
        Arch::Arm64 => "ttyAMA0",
    }
}

/// What the guest sees. Of x86-64 without cmpxchg16b, which qemu 7.2 gets wrong for 6.12 in more
/// than half of all boots; but 7.x has no socket storage without it. Of arm64 what the first clouds
/// had: `max` spends most of its time on pointer authentication.
pub(super) fn cpu(kernel: &Kernel) -> &'static str {
    match kernel.arch {
        Arch::Arm64 => "neoverse-n1",
        Arch::Amd64 if version(&kernel.name) < vec![7] => "max,-cx16",
        Arch::Amd64 => "max",
    }
}
