//! How large the programs are once the kernel has taken them.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use aya::EbpfLoader;
use aya::programs::{Program, RawTracePoint, SkMsg, SockOps};
use sockway_common::layout::{self, program};
use sockway_datapath::{cast, kernel};

/// Programs that every kernel takes.
const PROGRAMS: [&str; 3] = [program::ESTABLISH, program::REDIRECT, program::READS];

/// Loads the object as it is installed, attaches nothing, and tells the sizes.
pub(crate) fn table(objects: &Path) -> Result<String> {
    let path = objects.join("sockway.o");
    let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    let config = kernel::config(kernel::read(None)?.offsets);
    let mut object = EbpfLoader::new()
        .override_global(layout::CONFIG, &config, true)
        .load(&cast::link(&bytes, &config))
        .with_context(|| format!("load {}", path.display()))?;
    let mut table = format!(
        "{:<20}{:>14}{:>14}{:>24}\n",
        "program", "xlated bytes", "jited bytes", "instructions verified"
    );
    for name in PROGRAMS {
        let program = object.program_mut(name);
        let program = program.with_context(|| format!("no program {name}"))?;
        load(program).with_context(|| format!("load {name}"))?;
        let info = program.info()?;
        let _infallible = writeln!(
            table,
            "{name:<20}{:>14}{:>14}{:>24}",
            info.size_translated().unwrap_or_default(),
            info.size_jitted(),
            info.verified_instruction_count().unwrap_or_default()
        );
    }
    Ok(table)
}

fn load(program: &mut Program) -> Result<()> {
    match program {
        Program::SockOps(_) => <&mut SockOps>::try_from(program)?.load()?,
        Program::SkMsg(_) => <&mut SkMsg>::try_from(program)?.load()?,
        _ => <&mut RawTracePoint>::try_from(program)?.load()?,
    }
    Ok(())
}
