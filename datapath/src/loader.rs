//! Loading the programs and pinning what must outlive this process.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use aya::{Ebpf, EbpfLoader};
use log::{debug, info, warn};
use sockway_common::config::{Config, DEFAULT_BACKLOG_LIMIT, DEFAULT_TCP_EVERY, typed};
use sockway_common::layout::{self, program};
use sockway_common::offsets::Offsets;
use sockway_common::policy::fionread;

use crate::kernel::{Found, Functions, Hooks};
use crate::receive_hook::ReceiveHook;
use crate::{
    Error, Pins, attach, calls, cast, create, host, kernel, length, loaded, pins, registry, stats,
    sweep, sys, trust, unread,
};

/// The eBPF object, aligned as the ELF reader wants it; empty in a stub build.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/sockway.o"));

/// Maps that the object defines; `sandboxes` and `calls` are user space's own.
fn object_maps() -> impl Iterator<Item = &'static str> {
    layout::MAPS
        .into_iter()
        .filter(|&name| name != layout::SANDBOXES && name != layout::CALLS)
}

/// What [`Datapath::install`] is to do.
#[derive(Clone, Debug)]
pub struct InstallOptions {
    /// Where to pin.
    pub pins: Pins,
    /// The cgroup2 directory whose sockets take part.
    pub cgroup: PathBuf,
    /// Redirected bytes that may wait at a reader (see [`Config::backlog_limit`]).
    pub backlog_limit: u32,
    /// Accelerated connections at a time. Maps that are pinned already keep their size.
    pub max_connections: u32,
    /// See [`Config::tcp_every`], seconds.
    pub tcp_every: u32,
    /// What is known of the kernel already; its BTF is not read then.
    pub found: Option<Found>,
    /// How the kernel answers `FIONREAD`, instead of what is measured: one of [`fionread`].
    pub fionread: Option<u32>,
    /// Whether to try the fentry programs; false where the kernel is known to refuse them.
    pub guards: bool,
    /// An object to load instead of the embedded one, and [`Config::blind`] for it.
    #[cfg(feature = "bench")]
    pub object: Option<(Vec<u8>, u32)>,
}

impl InstallOptions {
    /// The defaults for a pin directory and a cgroup.
    #[must_use]
    pub fn new(pins: Pins, cgroup: PathBuf) -> Self {
        Self {
            pins,
            cgroup,
            backlog_limit: DEFAULT_BACKLOG_LIMIT,
            max_connections: layout::MAX_CONNECTIONS,
            tcp_every: DEFAULT_TCP_EVERY,
            found: None,
            fionread: None,
            guards: true,
            #[cfg(feature = "bench")]
            object: None,
        }
    }
}

/// What [`Datapath::install`] did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InstallReport {
    /// True where programs of an earlier install were replaced in place.
    pub replaced: bool,
    /// Rules that work with less on this kernel, one line each.
    pub limits: Vec<&'static str>,
    /// The offsets that the programs were loaded with.
    pub offsets: Offsets,
    /// The functions that the kernel has for them.
    pub functions: Functions,
    /// Which pointers the programs follow: one of [`typed`].
    pub typed: u32,
    /// How the kernel answers `FIONREAD`: one of [`fionread`].
    pub fionread: u32,
    /// The programs that the kernel took beside those that it has to.
    pub hooks: Hooks,
}

/// The datapath of a node.
#[derive(Clone, Copy, Debug)]
pub struct Datapath;

impl Datapath {
    /// True where this build holds no programs.
    pub const EMBEDDED_IS_STUB: bool = !cfg!(sockway_object);

    /// Loads the programs, pins the maps and attaches. May be run again at any
    /// time: maps and accelerated connections stay, programs are replaced in place.
    ///
    /// # Errors
    ///
    /// [`Error::Stub`], [`Error::NoBpffs`], [`Error::Load`], [`Error::Program`]
    /// with the verifier's log, [`Error::Map`], [`Error::Io`]. What was pinned
    /// before a failure stays, and the next run goes on with it.
    pub fn install(options: &InstallOptions) -> Result<InstallReport, Error> {
        let done = Self::put_in_place(options);
        // The objects and the verifier's log take megabytes, which a process that stays should not keep.
        sys::give_memory_back();
        done
    }

    fn put_in_place(options: &InstallOptions) -> Result<InstallReport, Error> {
        let InstallOptions {
            pins,
            cgroup,
            backlog_limit,
            max_connections,
            tcp_every,
            found,
            fionread,
            guards,
            ..
        } = options;
        if Self::EMBEDDED_IS_STUB {
            return Err(Error::Stub);
        }
        host::require_bpffs(pins.root())?;
        let dir = pins.dir();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&dir)
            .map_err(|e| Error::io("create", &dir, e))?;
        trust::require(pins)?;
        let Found { offsets, functions } = match *found {
            Some(found) => found,
            None => kernel::read(None)?,
        };
        sys::raise_memlock();
        let config = Config {
            backlog_limit: *backlog_limit,
            tcp_every: *tcp_every,
            fionread: fionread.unwrap_or_else(|| length::measure(*guards)),
            ..kernel::config(offsets)
        };
        #[cfg(feature = "bench")]
        let (config, bytes) = match &options.object {
            Some((bytes, blind)) => (
                Config {
                    blind: *blind,
                    ..config
                },
                &bytes[..],
            ),
            None => (config, OBJECT),
        };
        #[cfg(not(feature = "bench"))]
        let bytes = OBJECT;
        create::ends(pins, &config, *max_connections)?;
        let (mut object, mut config) = verified(pins, config, bytes, *max_connections)?;
        registry::ensure_sandboxes(pins)?;
        calls::ensure(pins)?;
        let mut hooks = attach_optional(&mut object, pins, guards.then_some(functions));
        if config.fionread == fionread::WRONG && !hooks.guards {
            config.fionread = fionread::WRONG_UNSEEN;
            (object, config) = verified(pins, config, bytes, *max_connections)?;
            hooks = attach_optional(&mut object, pins, None);
        }
        attach::late(&mut object, pins)?;
        loaded::note(pins, &config)?;
        attach::redirect(&mut object)?;
        let before = attach::is_detached(pins).then(|| sweep::Before::list(pins));
        let replaced = attach::establish(&mut object, pins, cgroup)?;
        if let Some(before) = before {
            match before.and_then(|before| before.sweep(pins)) {
                Ok(0) => {}
                Ok(rows) => info!("took out {rows} rows of connections that ended meanwhile"),
                Err(e) => warn!("rows of connections that ended meanwhile stay: {e}"),
            }
        }
        Ok(InstallReport {
            replaced,
            limits: kernel::limits(&config, hooks),
            offsets: config.offsets,
            functions,
            typed: config.typed,
            fionread: config.fionread,
            hooks,
        })
    }

    /// Stops taking in connections: detaches everything but the redirect itself. Accelerated
    /// connections go on as they are; once this returns, none is added to them.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]. What is not attached any more is no error.
    pub fn detach(pins: &Pins) -> Result<(), Error> {
        attach::detach(pins)
    }

    /// Unpins everything of this layout. Bytes that wait in redirected queues
    /// would be lost: see [`crate::stats::sockets`] for when nothing is in use.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]. What is gone already is no error.
    pub fn remove(pins: &Pins) -> Result<(), Error> {
        Self::detach(pins)?;
        pins::remove_all(&pins.dir())?;
        remove_root(pins)
    }

    /// What is attached now.
    ///
    /// # Errors
    ///
    /// [`Error::NotInstalled`] or [`Error::OtherLayout`] where nothing of this layout is pinned.
    pub fn status(pins: &Pins) -> Result<attach::DatapathStatus, Error> {
        attach::status(pins)
    }
}

/// Removes the root once no layout is left in it.
fn remove_root(pins: &Pins) -> Result<(), Error> {
    match fs::remove_dir(pins.root()) {
        Ok(()) => Ok(()),
        Err(e)
            if matches!(
                e.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Ok(())
        }
        Err(e) => Err(Error::io("remove", pins.root(), e)),
    }
}

/// Attaches what is allowed to be missing; what is missing is said and costs
/// acceleration, nothing else.
fn attach_optional(object: &mut Ebpf, pins: &Pins, functions: Option<Functions>) -> Hooks {
    let seen = |what: &str, result: Result<(), String>| match result {
        Ok(()) => true,
        Err(cause) => {
            warn!("{what}: {cause}");
            false
        }
    };
    let types = functions.map(|functions| functions.btf().map_err(|e| attach::chain(&e)));
    let types = types.as_ref().map(|types| types.as_ref());
    let reads = attach::reads(object, pins).map_err(|e| attach::chain(&e));
    let ends = attach::ends(object, pins).or_else(|e| match types {
        Some(Ok(types)) => {
            debug!(
                "no tracepoint at the end of receiving calls: {}",
                attach::chain(&e)
            );
            attach::ends_by_function(object, pins, types)
        }
        _ => Err(e),
    });
    let ends = ends.and_then(|()| ReceiveHook::open(pins)?.note(true));
    let ends = ends.map_err(|e| attach::chain(&e));
    let guards = types.map(|types| {
        let types = types.map_err(Clone::clone)?;
        attach::guards(object, pins, types).map_err(|e| attach::chain(&e))
    });
    let errors = attach::errors(object, pins).map_err(|e| attach::chain(&e));
    Hooks {
        errors: seen("with IP_RECVERR soft errors are not told", errors),
        reads: seen(
            "how applications read cannot be seen, they stay on TCP",
            reads,
        ),
        ends: seen(
            "edge-triggered applications stay on TCP: who reads to the end cannot be seen",
            ends,
        ),
        guards: guards.is_some_and(|guards| {
            seen(
                "a first FIONREAD or splice on a joined connection is not seen",
                guards,
            )
        }),
    }
}

/// A loader over the pinned maps.
fn over<'a>(pins: &Pins, config: &'a Config) -> EbpfLoader<'a> {
    let mut loader = unread::loader();
    loader.override_global(layout::CONFIG, config, true);
    for name in object_maps() {
        loader.map_pin_path(name, pins.map(name));
    }
    loader
}

fn read(mut loader: EbpfLoader<'_>, pins: &Pins, bytes: &[u8]) -> Result<Ebpf, Error> {
    debug!(
        "loading {} bytes of eBPF object over {}",
        bytes.len(),
        pins.dir().display()
    );
    loader.load(bytes).map_err(|source| Error::Load {
        source: Box::new(source),
    })
}

/// The programs as the kernel's verifier takes them: with less of [`typed`] where it will not have
/// more, which costs some speed and no rule.
fn verified(
    pins: &Pins,
    mut config: Config,
    bytes: &[u8],
    max_connections: u32,
) -> Result<(Ebpf, Config), Error> {
    loop {
        let mut object = load(pins, &config, bytes, max_connections)?;
        match attach::load(&mut object) {
            Err(e) if attach::is_refusal(&e) && config.typed > typed::NONE => {
                warn!(
                    "the kernel refuses pointers of level {}, trying without: {e}",
                    config.typed
                );
                debug!("{}", attach::chain(&e));
                config.typed -= 1;
            }
            // Missing, it costs acceleration: `attach_optional` says so.
            Err(Error::Program { name, .. }) if name == program::READS => {
                return Ok((object, config));
            }
            done => return done.map(|()| (object, config)),
        }
    }
}

fn load(pins: &Pins, config: &Config, bytes: &[u8], max_connections: u32) -> Result<Ebpf, Error> {
    let mut loader = over(pins, config);
    for (name, rows) in layout::capacities(max_connections) {
        loader.map_max_entries(name, rows);
    }
    let object = read(loader, pins, &cast::link(bytes, config))?;
    for (name, wanted) in layout::capacities(max_connections) {
        let rows = stats::capacity(pins, name)?;
        if rows != wanted {
            warn!("{name} keeps its {rows} rows, not {wanted}: uninstall first to change that");
        }
    }
    Ok(object)
}
