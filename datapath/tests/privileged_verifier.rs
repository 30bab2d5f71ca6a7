//! Every program by itself before this kernel's verifier, and every map as it is declared:
//! with all kernel fields known, with none, and with each one missing.
//!
//! Needs root and the real eBPF object: `make test-privileged`.

use aya::maps::{MapInfo, MapType};
use aya::programs::{
    FEntry, FExit, Program, ProgramError, ProgramInfo, RawTracePoint, SchedClassifier, SkMsg,
    SockOps,
};
use aya::{Btf, BtfError, EbpfLoader, VerifierLogLevel};
use sockway_common::addr::IpKey;
use sockway_common::calls;
use sockway_common::config::{Config, typed};
use sockway_common::counters::Stats;
use sockway_common::end::EndRow;
use sockway_common::layout::{self, program};
use sockway_common::offsets::Offsets;
use sockway_common::pair::{PendingRow, SeqKey};
use sockway_common::pod::{OwnerKey, PodRow, PodStats, SandboxRow};
use sockway_common::program::{ProgramKey, ProgramRow};
use sockway_common::signal;
use sockway_common::state::SockState;
use sockway_datapath::{Datapath, InstallOptions, Pins, cast, host, kernel};
use sockway_testkit::bpffs::Bpffs;
use sockway_testkit::needs;
use sockway_testkit::ring::privileged;

/// What a program is to be verified with at most: a quarter of the kernel's limit of a million.
const MOST_INSTRUCTIONS: u32 = 250_000;

/// The programs on kernel functions, which Sockway does without where a kernel allows none.
const FUNCTIONS: [(&str, &str); 5] = [
    (program::GUARD_IOCTL, "tcp_ioctl"),
    (program::GUARD_JOINED_IOCTL, "tcp_bpf_ioctl"),
    (program::GUARD_SPLICE, "tcp_splice_read"),
    (program::ENDS_V4, "inet_recvmsg"),
    (program::ENDS_V6, "inet6_recvmsg"),
];

/// The function that a program is for.
fn function(name: &str) -> &'static str {
    let found = FUNCTIONS.iter().find(|(program, _)| *program == name);
    found.expect("a program of a function").1
}

/// The object under test, as the build embedded it.
fn object() -> Vec<u8> {
    let path =
        std::env::var_os("SOCKWAY_EBPF_OBJECT").expect("SOCKWAY_EBPF_OBJECT names the object");
    std::fs::read(path).expect("read the object")
}

/// Loads one program of the object and nothing else; its verified instructions.
fn load(
    object: &[u8],
    name: &str,
    (offsets, typed): (Offsets, u32),
    btf: &Btf,
) -> Result<Option<u32>, ProgramError> {
    let config = Config {
        offsets,
        typed,
        arch: kernel::ARCH,
        ..Config::UNSET
    };
    let mut loader = EbpfLoader::new();
    loader
        .btf(None)
        .override_global(layout::CONFIG, &config, true);
    loader.verifier_log_level(VerifierLogLevel::DEBUG | VerifierLogLevel::STATS);
    // The maps' sizes are another test's.
    for (map, rows) in layout::capacities(64) {
        loader.map_max_entries(map, rows);
    }
    let mut programs = loader
        .load(&cast::link(object, &config))
        .expect("make the maps");
    let program = programs.program_mut(name).expect("a program of this name");
    let info = |info: Result<ProgramInfo, ProgramError>| {
        info.expect("ask the kernel").verified_instruction_count()
    };
    Ok(match program {
        Program::SockOps(program) => {
            SockOps::load(program)?;
            info(program.info())
        }
        Program::SkMsg(program) => {
            SkMsg::load(program)?;
            info(program.info())
        }
        Program::RawTracePoint(program) => {
            RawTracePoint::load(program)?;
            info(program.info())
        }
        Program::FEntry(program) => {
            FEntry::load(program, function(name), btf)?;
            info(program.info())
        }
        Program::FExit(program) => {
            FExit::load(program, function(name), btf)?;
            info(program.info())
        }
        Program::SchedClassifier(program) => {
            SchedClassifier::load(program)?;
            info(program.info())
        }
        other => panic!("{name} is of an unexpected kind: {other:?}"),
    })
}

/// Every program in the object, by name.
fn programs(object: &[u8]) -> Vec<String> {
    let mut loader = EbpfLoader::new();
    for (map, rows) in layout::capacities(64) {
        loader.map_max_entries(map, rows);
    }
    let programs = loader.load(object).expect("make the maps");
    let mut names: Vec<String> = programs
        .programs()
        .map(|(name, _)| name.to_owned())
        .collect();
    names.sort();
    names
}

/// Every set of fields that a kernel may have, as far as it differs from this one's, and whether
/// its types can be followed.
fn kernels() -> Vec<(String, (Offsets, u32))> {
    let offsets = kernel::read(None).expect("read the BTF").offsets;
    let rows = kernel::table(&offsets);
    let level = cast::level(&offsets);
    let mut kernels = vec![
        ("all fields".to_owned(), (offsets, level)),
        ("no BTF".to_owned(), (Offsets::NONE, typed::NONE)),
    ];
    for typed in typed::NONE..level {
        kernels.push((format!("pointers {typed}"), (offsets, typed)));
    }
    for at in 0..rows.len() {
        let mut rows = rows.clone();
        rows[at].1 = None;
        let offsets = kernel::from_table(&rows);
        let typed = if offsets.casts() {
            level
        } else {
            level.min(typed::OWN)
        };
        kernels.push((format!("without {}", rows[at].0), (offsets, typed)));
    }
    kernels
}

#[test]
fn every_program_by_itself_on_every_kernel() {
    needs!(privileged("every_program_by_itself"));
    let functions = kernel::read(None).expect("read the BTF").functions;
    let (object, btf) = (object(), functions.btf().expect("a BTF for aya"));
    let names = programs(&object);
    for name in [
        program::ESTABLISH,
        program::REDIRECT,
        program::READS,
        program::ENDS,
        program::ENDS_V4,
        program::ENDS_V6,
        program::GUARD_IOCTL,
        program::GUARD_JOINED_IOCTL,
        program::GUARD_SPLICE,
        program::LATE,
    ] {
        assert!(names.iter().any(|n| n == name), "no {name} in {names:?}");
    }
    let kernels = kernels();
    assert!(kernels.len() >= 2 + sockway_common::offsets::OFFSETS);
    for name in &names {
        let mut counts = Vec::new();
        for (which, kernel) in &kernels {
            let verified = load(&object, name, *kernel, &btf);
            if let Err(ProgramError::LoadError {
                io_error,
                verifier_log,
            }) = &verified
                && FUNCTIONS.iter().any(|(program, _)| program == name)
                && io_error.kind() == std::io::ErrorKind::PermissionDenied
                && verifier_log.to_string().trim().is_empty()
            {
                // Refused before the verifier saw it, as any fentry program is on such a kernel.
                println!("{name}: this kernel allows no programs on functions: {io_error}");
                break;
            }
            if let Err(ProgramError::Btf(BtfError::UnknownBtfTypeName { .. })) = &verified {
                println!("{name}: this kernel has no function {}", function(name));
                break;
            }
            let verified = verified.unwrap_or_else(|e| panic!("{name}, {which}: {e:?}"));
            // Kernels before 5.16 do not count.
            let Some(verified) = verified else { continue };
            assert!(verified < MOST_INSTRUCTIONS, "{name}, {which}: {verified}");
            counts.push((verified, which));
        }
        counts.sort();
        if let (Some((all, _)), Some(least), Some(most)) = (
            counts.iter().find(|(_, which)| *which == "all fields"),
            counts.first(),
            counts.last(),
        ) {
            println!(
                "{name}: {all} instructions verified with all fields; least {} ({}), most {} ({})",
                least.0, least.1, most.0, most.1
            );
        }
    }
    println!("{} programs, {} loads each", names.len(), kernels.len());
}

#[test]
fn every_map_is_as_declared() {
    use MapType::{Array, Hash, LruHash, LruPerCpuHash, PerCpuArray, RingBuf, SkStorage, SockHash};
    needs!(privileged("every_map_is_as_declared"));
    let bpffs = Bpffs::mount();
    let pins = Pins::new(bpffs.path().join("sockway"));
    let root = host::find_cgroup2()
        .expect("read mounts")
        .expect("a cgroup2 hierarchy");
    let cgroup = tempfile::Builder::new()
        .prefix("sockway-verifier.")
        .tempdir_in(root)
        .expect("make a cgroup");
    let options = InstallOptions::new(pins.clone(), cgroup.path().to_owned());
    Datapath::install(&options).expect("install");
    let cookie = size_of::<u64>();
    let connections = layout::MAX_CONNECTIONS as usize;
    let declared = [
        (
            layout::PODS,
            Hash,
            size_of::<IpKey>(),
            size_of::<PodRow>(),
            layout::MAX_PODS,
        ),
        (
            layout::SANDBOXES,
            Hash,
            size_of::<OwnerKey>(),
            size_of::<SandboxRow>(),
            layout::MAX_PODS,
        ),
        (
            layout::PENDING,
            LruHash,
            size_of::<SeqKey>(),
            size_of::<PendingRow>(),
            connections,
        ),
        // User space sees a socket's cookie.
        (layout::SOCKETS, SockHash, cookie, 8, connections * 2),
        (layout::STATE, SkStorage, 4, size_of::<SockState>(), 0),
        (
            layout::PROGRAMS,
            LruHash,
            size_of::<ProgramKey>(),
            size_of::<ProgramRow>(),
            layout::MAX_PROGRAMS,
        ),
        (
            layout::ENDS,
            Hash,
            cookie,
            size_of::<EndRow>(),
            connections * 2,
        ),
        (layout::CALLERS, LruHash, 4, 8, layout::MAX_CALLERS),
        (layout::EVENTS, RingBuf, 0, 0, layout::EVENTS_SIZE),
        (layout::SIGNALS, Array, 4, size_of::<u64>(), signal::COUNT),
        (layout::STATS, PerCpuArray, 4, size_of::<Stats>(), 1),
        (
            layout::POD_STATS,
            LruPerCpuHash,
            size_of::<IpKey>(),
            size_of::<PodStats>(),
            layout::MAX_POD_STATS,
        ),
        (layout::CALLS, Array, 4, size_of::<calls::Value>(), 1),
        (layout::LOADED, Array, 4, size_of::<Config>(), 1),
    ];
    for name in layout::MAPS {
        assert!(
            declared.iter().any(|row| row.0 == name),
            "{name} is not checked"
        );
    }
    for (name, kind, key, value, rows) in declared {
        let info = MapInfo::from_pin(pins.map(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let found = (
            info.map_type().expect("a known type"),
            info.key_size() as usize,
            info.value_size() as usize,
            info.max_entries() as usize,
        );
        // A sockhash takes values of 4 or 8 bytes.
        let value = if kind == SockHash { found.2 } else { value };
        assert_eq!(found, (kind, key, value, rows), "{name}");
    }
    Datapath::remove(&pins).expect("remove");
    // tempfile would remove the kernel's files in it first.
    let path = cgroup.keep();
    std::fs::remove_dir(&path).expect("remove the cgroup");
}
