//! Attaching programs so that they outlive this process, and seeing what is attached.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use aya::maps::SockHash;
use aya::programs::links::{FdLink, LinkError};
use aya::programs::{
    CgroupAttachMode, FEntry, FExit, ProgramError, RawTracePoint, SchedClassifier, SkMsg, SockOps,
};
use aya::{Btf, BtfError, Ebpf};
use log::{info, warn};
use sockway_common::layout::{self, program};

use crate::kernel::{Hooks, functions};
use crate::lock::ProgramsLock;
use crate::{Error, Pins, kernel, loaded, pins, sys};

/// The tracepoint where receiving calls end, from 6.3 on.
pub(crate) const RECEIVED: &str = "sock_recv_length";

/// What is attached on this node.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DatapathStatus {
    /// True where new connections are taken in.
    pub attached: bool,
    /// Id of the `sock_ops` program, where attached.
    pub program_id: Option<u32>,
    /// Id of the cgroup it is attached to: its directory's inode number.
    pub cgroup_id: Option<u64>,
    /// Rules that work with less on this kernel, one line each.
    pub limits: Vec<&'static str>,
}

/// The error with its causes, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

pub(crate) fn refused<E>(name: &'static str, op: &'static str) -> impl Fn(E) -> Error
where
    E: Into<aya::programs::ProgramError>,
{
    move |e| Error::Program {
        name,
        op,
        source: Box::new(e.into()),
    }
}

pub(crate) fn get<'a, P>(object: &'a mut Ebpf, name: &'static str) -> Result<&'a mut P, Error>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program>,
{
    object
        .program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or(Error::NoProgram { name })
}

/// Puts a link where the pin of an older one may be: the older one goes only
/// once the new one is in place.
fn pin_over(link: FdLink, path: &Path) -> Result<(), Error> {
    // bpffs refuses names with dots (kernel/bpf/inode.c `bpf_lookup`).
    let mut next = path.as_os_str().to_owned();
    next.push("_next");
    let next = PathBuf::from(next);
    pins::remove(&next)?;
    let pinned = |e: aya::pin::PinError| Error::io("pin at", path, io::Error::other(chain(&e)));
    let _kept_by_the_pin = link.pin(&next).map_err(pinned)?;
    fs::rename(&next, path).map_err(|e| Error::io("rename to", path, e))
}

/// Has the kernel verify the programs that run for every connection.
pub(crate) fn load(object: &mut Ebpf) -> Result<(), Error> {
    let name = program::ESTABLISH;
    let program: &mut SockOps = get(object, name)?;
    program.load().map_err(refused(name, "load"))?;
    let name = program::REDIRECT;
    let program: &mut SkMsg = get(object, name)?;
    program.load().map_err(refused(name, "load"))?;
    let name = program::LATE;
    let program: &mut SchedClassifier = get(object, name)?;
    program.load().map_err(refused(name, "load"))?;
    let name = program::READS;
    let program: &mut RawTracePoint = get(object, name)?;
    program.load().map_err(refused(name, "load"))
}

/// Pins the program that user space runs, in place of an older one.
pub(crate) fn late(object: &mut Ebpf, pins: &Pins) -> Result<(), Error> {
    let (name, pin) = (program::LATE, pins.program(program::LATE));
    pins::remove(&pin)?;
    let program: &mut SchedClassifier = get(object, name)?;
    let pinned = program.pin(&pin);
    pinned.map_err(|e| Error::io("pin at", &pin, io::Error::other(chain(&e))))
}

/// Whether the verifier has looked at a program and will not have it.
pub(crate) fn is_refusal(error: &Error) -> bool {
    let Error::Program { source, .. } = error else {
        return false;
    };
    matches!(&**source, ProgramError::LoadError { verifier_log, .. }
        if !verifier_log.to_string().trim().is_empty())
}

/// Attaches the `sk_msg` program to the sockhash, in place of an older one.
///
/// Sockets that are in the sockhash already keep the program they came with
/// (net/core/skmsg.c: a psock holds its own reference).
pub(crate) fn redirect(object: &mut Ebpf) -> Result<(), Error> {
    let name = program::REDIRECT;
    let open = |source| Error::Map {
        name: layout::SOCKETS,
        op: "open",
        source,
    };
    let map = object.map(layout::SOCKETS).ok_or(Error::NoProgram {
        name: layout::SOCKETS,
    })?;
    let sockets = SockHash::<_, u64>::try_from(map).map_err(open)?;
    let sockets = sockets
        .fd()
        .try_clone()
        .map_err(|e| Error::io("open", "the sockhash's descriptor", e))?;
    let program: &mut SkMsg = get(object, name)?;
    let id = program.attach(&sockets).map_err(refused(name, "attach"))?;
    let link = program.take_link(id).map_err(refused(name, "attach"))?;
    // There is no kernel link for this attachment before 6.10, and dropping
    // aya's would detach. The map holds the program for as long as it is pinned.
    std::mem::forget(link);
    Ok(())
}

/// Attaches the `sock_ops` program to the cgroup, or puts it behind the link
/// that an earlier install pinned; true in the latter case.
pub(crate) fn establish(object: &mut Ebpf, pins: &Pins, cgroup: &Path) -> Result<bool, Error> {
    let name = program::ESTABLISH;
    let program: &mut SockOps = get(object, name)?;
    let pin = pins.link(name);
    let directory = File::open(cgroup).map_err(|e| Error::io("open cgroup", cgroup, e))?;
    let inode = directory
        .metadata()
        .map_err(|e| Error::io("look at", cgroup, e))?
        .ino();
    if let Ok(link) = sys::object_at(&pin)
        && sys::link_info(link.as_fd()).is_ok_and(|info| info.cgroup_id == inode)
    {
        let fd = program.fd().map_err(refused(name, "load"))?.as_fd();
        match sys::link_update(link.as_fd(), fd) {
            Ok(()) => return Ok(true),
            Err(e) => warn!("cannot replace {name} in place, attaching anew: {e}"),
        }
    }
    let id = program
        .attach(&directory, CgroupAttachMode::Single)
        .map_err(refused(name, "attach"))?;
    let link = program.take_link(id).map_err(refused(name, "attach"))?;
    let link = link
        .try_into()
        .map_err(|e: LinkError| Error::io("make a link for", &pin, io::Error::other(chain(&e))))?;
    pin_over(link, &pin)?;
    info!("attached {name} to {}", cgroup.display());
    Ok(false)
}

/// True where no connection is seen now.
pub(crate) fn is_detached(pins: &Pins) -> bool {
    attached(pins).is_none()
}

/// Attaches the program that sees how applications read, in place of an older one.
pub(crate) fn reads(object: &mut Ebpf, pins: &Pins) -> Result<(), Error> {
    on_tracepoint(object, pins, program::READS, "tcp_rcv_space_adjust")
}

/// Attaches the program that sees sockets that have an error to tell, in place of an older one.
pub(crate) fn errors(object: &mut Ebpf, pins: &Pins) -> Result<(), Error> {
    on_tracepoint(object, pins, program::ERRORS, "inet_sk_error_report")
}

/// Attaches the program that sees who reads until there is nothing more, in place of an older one,
/// and pins it for [`crate::receive_hook::ReceiveHook`].
pub(crate) fn ends(object: &mut Ebpf, pins: &Pins) -> Result<(), Error> {
    let (name, pin) = (program::ENDS, pins.program(program::ENDS));
    pins::remove(&pin)?;
    on_tracepoint(object, pins, name, RECEIVED)?;
    let program: &mut RawTracePoint = get(object, name)?;
    let pinned = program.pin(&pin);
    pinned.map_err(|e| Error::io("pin at", &pin, io::Error::other(chain(&e))))
}

fn on_tracepoint(
    object: &mut Ebpf,
    pins: &Pins,
    name: &'static str,
    tracepoint: &str,
) -> Result<(), Error> {
    let program: &mut RawTracePoint = get(object, name)?;
    if program.fd().is_err() {
        program.load().map_err(refused(name, "load"))?;
    }
    to_tracepoint(program, pins, name, tracepoint)
}

/// Attaches a program that is loaded.
pub(crate) fn to_tracepoint(
    program: &mut RawTracePoint,
    pins: &Pins,
    name: &'static str,
    tracepoint: &str,
) -> Result<(), Error> {
    let id = program
        .attach(tracepoint)
        .map_err(refused(name, "attach"))?;
    let link = program.take_link(id).map_err(refused(name, "attach"))?;
    pin_over(link.into(), &pins.link(name))
}

/// The programs that see the same where there is no tracepoint (before 6.3), and their functions.
const ENDS: [(&str, &str); 2] = [
    (program::ENDS_V4, functions::RECEIVE_V4),
    (program::ENDS_V6, functions::RECEIVE_V6),
];

/// The same as [`ends`] by the functions behind every receiving call.
pub(crate) fn ends_by_function(object: &mut Ebpf, pins: &Pins, btf: &Btf) -> Result<(), Error> {
    ENDS.into_iter().try_for_each(|(name, function)| {
        let program: &mut FExit = get(object, name)?;
        program.load(function, btf).map_err(refused(name, "load"))?;
        let id = program.attach().map_err(refused(name, "attach"))?;
        let link = program.take_link(id).map_err(refused(name, "attach"))?;
        pin_over(link.into(), &pins.link(name))
    })
}

/// The programs on kernel functions, and their functions.
const GUARDS: [(&str, &str); 2] = [
    (program::GUARD_IOCTL, functions::IOCTL),
    (program::GUARD_SPLICE, functions::SPLICE),
];

/// Attaches the programs that see who asks FIONREAD or splices, in place of older ones.
pub(crate) fn guards(object: &mut Ebpf, pins: &Pins, btf: &Btf) -> Result<(), Error> {
    // First: where the others are in place, so is this one, if the kernel has its function.
    match on_entry(
        object,
        pins,
        (program::GUARD_JOINED_IOCTL, functions::JOINED_IOCTL),
        btf,
    ) {
        Err(Error::Program { source, .. })
            if matches!(
                *source,
                ProgramError::Btf(BtfError::UnknownBtfTypeName { .. })
            ) => {}
        done => done?,
    }
    GUARDS
        .into_iter()
        .try_for_each(|guard| on_entry(object, pins, guard, btf))
}

fn on_entry(
    object: &mut Ebpf,
    pins: &Pins,
    (name, function): (&'static str, &str),
    btf: &Btf,
) -> Result<(), Error> {
    let program: &mut FEntry = get(object, name)?;
    program.load(function, btf).map_err(refused(name, "load"))?;
    let id = program.attach().map_err(refused(name, "attach"))?;
    let link = program.take_link(id).map_err(refused(name, "attach"))?;
    pin_over(link.into(), &pins.link(name))
}

/// How long a program may run at most where the kernel cannot be asked to wait for its end.
const RUN: Duration = Duration::from_millis(100);

/// Waits until every program that runs now has ended.
pub(crate) fn wait_for_running() {
    if sys::wait_for_running_programs().is_err() {
        sleep(RUN);
    }
}

/// Stops taking in connections: once it returns, no program joins one any more.
pub(crate) fn detach(pins: &Pins) -> Result<(), Error> {
    // Who comes after this finds nothing attached, and leaves it at that.
    let _held = ProgramsLock::take(pins)?;
    let pin = pins.link(program::ESTABLISH);
    if let Ok(link) = sys::object_at(&pin) {
        if let Err(e) = sys::link_detach(link.as_fd()) {
            warn!("the kernel detaches {} later: {e}", program::ESTABLISH);
        }
        wait_for_running();
    }
    pins::remove(&pins.program(program::ENDS))?;
    LINKS
        .iter()
        .try_for_each(|name| pins::remove(&pins.link(name)))
}

/// Every link of an installed datapath.
const LINKS: [&str; 9] = [
    program::ESTABLISH,
    program::READS,
    program::ENDS,
    program::ENDS_V4,
    program::ENDS_V6,
    program::ERRORS,
    program::GUARD_IOCTL,
    program::GUARD_JOINED_IOCTL,
    program::GUARD_SPLICE,
];

fn link_at(pin: &Path) -> Option<sys::LinkInfo> {
    let link = sys::object_at(pin).ok()?;
    sys::link_info(link.as_fd()).ok()
}

/// What takes in connections. A link outlives its cgroup, and a detachment that
/// was cut short: it then names no cgroup.
fn attached(pins: &Pins) -> Option<sys::LinkInfo> {
    link_at(&pins.link(program::ESTABLISH)).filter(|info| info.cgroup_id != 0)
}

/// See [`crate::Datapath::status`].
pub(crate) fn status(pins: &Pins) -> Result<DatapathStatus, Error> {
    if !pins.map(layout::SOCKETS).exists() {
        return Err(pins.missing(layout::SOCKETS));
    }
    let establish = attached(pins);
    let attached_to = |name: &str| link_at(&pins.link(name)).is_some();
    let all_attached =
        |programs: &[(&str, &str)]| programs.iter().all(|(name, _)| attached_to(name));
    let hooks = Hooks {
        reads: attached_to(program::READS),
        // Where it is off its tracepoint there is nothing to be seen now.
        ends: pins.program(program::ENDS).exists() || all_attached(&ENDS),
        guards: all_attached(&GUARDS),
        errors: attached_to(program::ERRORS),
    };
    let config = match loaded::config(pins) {
        Some(config) => config,
        // Loaded by a version that did not note it.
        None => kernel::config(kernel::read(None)?.offsets),
    };
    Ok(DatapathStatus {
        attached: establish.is_some(),
        program_id: establish.map(|info| info.program_id),
        cgroup_id: establish.map(|info| info.cgroup_id),
        limits: kernel::limits(&config, hooks),
    })
}
