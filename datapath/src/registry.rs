//! The registered pods: typed access to the pinned maps `pods` and `sandboxes`.
//!
//! Every row of `pods` belongs to the attachment named in it, and that
//! attachment's row in `sandboxes` lists the address: writers keep it so even
//! if they are killed half-way, by writing `sandboxes` first on the way in and
//! last on the way out. So nothing is ever found by iterating on ADD or DEL,
//! and what a crash leaves behind is taken out by the next DEL or GC.
//!
//! Writers hold an exclusive lock on the pin directory. Without it "look up,
//! compare the owner, delete" could hit the row of a pod that got the address
//! in between.

mod create;
mod lock;

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;

use aya::Pod;
use aya::maps::{HashMap, Map, MapData, MapError};
use sockway_common::addr::IpKey;
use sockway_common::layout::{MAX_PODS, PODS, SANDBOXES};
use sockway_common::part::{Part, Switched};
use sockway_common::pod::{OwnerKey, PodRow, SandboxRow};
use sockway_common::scope;

#[cfg(feature = "loader")]
pub(crate) use create::{NO_PREALLOC, create};
pub use create::{create_pods, ensure_sandboxes};

use crate::{Error, Pins, stats, walk};
use lock::PinLock;

/// The kernel's errno for a hash that is full.
const E2BIG: i32 = 7;

/// Reads and writes the rows of registered pods.
#[derive(Debug)]
pub struct Registry {
    pods: HashMap<MapData, IpKey, PodRow>,
    sandboxes: HashMap<MapData, OwnerKey, SandboxRow>,
    lock: PinLock,
    pins: Pins,
}

/// What [`Registry::retain`] did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Retained {
    /// The attachments that were taken out.
    pub removed: Vec<(OwnerKey, SandboxRow)>,
    /// Rows of `pods` that were taken out because their attachment is not known.
    pub orphans: usize,
    /// What could not be taken out, and why.
    pub errors: Vec<Error>,
}

impl Registry {
    /// Opens the pinned maps.
    ///
    /// # Errors
    /// [`Error::NotInstalled`] where nothing of this layout is pinned,
    /// [`Error::OtherLayout`] where only other layouts are, [`Error::Io`] where
    /// others than the owner could have put the pins there, [`Error::Permission`]
    /// and [`Error::Map`] as the kernel says.
    pub fn open(pins: &Pins) -> Result<Self, Error> {
        Ok(Self {
            lock: PinLock::open(pins)?,
            pods: open_map(pins, PODS)?,
            sandboxes: open_map(pins, SANDBOXES)?,
            pins: pins.clone(),
        })
    }

    /// Registers an attachment: every address in `sandbox` gets `row`.
    ///
    /// Addresses that the same attachment held before and holds no longer are
    /// taken out. An address that another attachment holds changes hands: IPAM
    /// gives an address to the next pod before the last one's DEL has come.
    /// An attachment that was switched off stays so.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::MapFull`], [`Error::Map`]; nothing of the
    /// attachment is registered then.
    pub fn register(
        &mut self,
        owner: OwnerKey,
        sandbox: &SandboxRow,
        row: &PodRow,
    ) -> Result<(), Error> {
        let Self {
            pods,
            sandboxes,
            lock,
            pins,
        } = self;
        let _held = lock.exclusive()?;
        let mut part = sandbox.part();
        let mut row = PodRow { owner, ..*row };
        if let Some(before) = lookup(sandboxes, &owner, SANDBOXES)? {
            for ip in before.ips().iter().filter(|ip| !sandbox.ips().contains(ip)) {
                remove_owned(pods, ip, &owner)?;
            }
            if let Some(switched) = before.part().switched {
                part.switched = Some(switched);
                row.scope = scope::OFF;
            }
        }
        let sandbox = SandboxRow {
            part: part.word(),
            ..*sandbox
        };
        insert(sandboxes, &owner, &sandbox, SANDBOXES)?;
        for ip in sandbox.ips() {
            if lookup(pods, ip, PODS)?.is_none_or(|before| before.owner != owner) {
                // What the last pod with this address did is not this one's.
                if let Err(error) = stats::forget_pod(pins, ip) {
                    log::debug!("the figures of {ip} start from its last pod's: {error}");
                }
            }
            if let Err(error) = insert(pods, ip, &row, PODS) {
                if let Err(undo) = remove_all(pods, sandboxes, &owner, sandbox.ips()) {
                    log::warn!("cannot undo a registration that failed: {undo}");
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Switches an attachment off, or back to the scope that it was registered with; false where it
    /// is not registered.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Map`].
    pub fn switch(&mut self, owner: &OwnerKey, switched: Option<Switched>) -> Result<bool, Error> {
        let Self {
            pods,
            sandboxes,
            lock,
            ..
        } = self;
        let _held = lock.exclusive()?;
        let Some(mut sandbox) = lookup(sandboxes, owner, SANDBOXES)? else {
            return Ok(false);
        };
        let part = Part {
            switched,
            ..sandbox.part()
        };
        sandbox.part = part.word();
        insert(sandboxes, owner, &sandbox, SANDBOXES)?;
        let scope = part.in_effect();
        for ip in sandbox.ips() {
            if let Some(row) = lookup(pods, ip, PODS)?.filter(|row| row.owner == *owner) {
                insert(pods, ip, &PodRow { scope, ..row }, PODS)?;
            }
        }
        Ok(true)
    }

    /// Takes an attachment out and says how many addresses that were.
    ///
    /// Only rows whose owner is the attachment are touched; what is gone
    /// already is no error. `also_ips` are looked at beside the addresses that
    /// the attachment registered.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Map`].
    pub fn unregister(&mut self, owner: &OwnerKey, also_ips: &[IpKey]) -> Result<usize, Error> {
        let Self {
            pods,
            sandboxes,
            lock,
            ..
        } = self;
        let _held = lock.exclusive()?;
        remove_all(pods, sandboxes, owner, also_ips)
    }

    /// Takes out every attachment that `keep` says no to, and every address
    /// whose attachment is not known at all.
    ///
    /// Goes on past errors and hands them back with the rest.
    ///
    /// # Errors
    /// [`Error::Busy`], or [`Error::Map`] where the maps cannot be listed.
    pub fn retain(
        &mut self,
        mut keep: impl FnMut(&OwnerKey, &SandboxRow) -> bool,
    ) -> Result<Retained, Error> {
        let Self {
            pods,
            sandboxes,
            lock,
            ..
        } = self;
        let _held = lock.exclusive()?;
        let mut known = HashSet::new();
        let mut done = Retained::default();
        for (owner, sandbox) in rows(sandboxes, SANDBOXES, |owner| *owner)? {
            if keep(&owner, &sandbox) {
                known.insert(owner);
                continue;
            }
            match remove_all(pods, sandboxes, &owner, &[]) {
                Ok(_) => done.removed.push((owner, sandbox)),
                Err(error) => done.errors.push(error),
            }
        }
        for (ip, row) in rows(pods, PODS, |ip| IpAddr::from(*ip))? {
            if known.contains(&row.owner) {
                continue;
            }
            match remove_owned(pods, &ip, &row.owner) {
                Ok(removed) => done.orphans += usize::from(removed),
                Err(error) => done.errors.push(error),
            }
        }
        Ok(done)
    }

    /// Gives addresses that nobody has a row for to the attachments that registered them, and says which.
    ///
    /// An address that two pods had is its younger pod's; once that is gone, the older one has no row
    /// although it lives. Of several that claim an address the youngest gets it.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::MapFull`], [`Error::Map`].
    pub fn give_back(
        &mut self,
        outbound_port: u16,
        inbound_port: u16,
    ) -> Result<Vec<(IpKey, SandboxRow)>, Error> {
        let Self {
            pods,
            sandboxes,
            lock,
            ..
        } = self;
        let _held = lock.exclusive()?;
        let mut claims = rows(sandboxes, SANDBOXES, |owner| *owner)?;
        claims.sort_by_key(|(_, sandbox)| std::cmp::Reverse(sandbox.since_unix_ns));
        let mut given = Vec::new();
        for (owner, sandbox) in claims {
            for ip in sandbox.ips() {
                if lookup(pods, ip, PODS)?.is_some() {
                    continue;
                }
                let row = PodRow {
                    owner,
                    outbound_port,
                    inbound_port,
                    scope: sandbox.part().in_effect(),
                };
                insert(pods, ip, &row, PODS)?;
                given.push((*ip, sandbox));
            }
        }
        Ok(given)
    }

    /// The row of an address.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn pod(&self, ip: &IpKey) -> Result<Option<PodRow>, Error> {
        lookup(&self.pods, ip, PODS)
    }

    /// The row of an attachment.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn sandbox(&self, owner: &OwnerKey) -> Result<Option<SandboxRow>, Error> {
        lookup(&self.sandboxes, owner, SANDBOXES)
    }

    /// Every attachment, in the order of the keys.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn sandboxes(&self) -> Result<Vec<(OwnerKey, SandboxRow)>, Error> {
        rows(&self.sandboxes, SANDBOXES, |owner| *owner)
    }

    /// Every address, in ascending order.
    ///
    /// # Errors
    /// [`Error::Map`].
    pub fn pods(&self) -> Result<Vec<(IpKey, PodRow)>, Error> {
        rows(&self.pods, PODS, |ip| IpAddr::from(*ip))
    }
}

/// Takes the attachment's addresses out, then its own row.
fn remove_all(
    pods: &mut HashMap<MapData, IpKey, PodRow>,
    sandboxes: &mut HashMap<MapData, OwnerKey, SandboxRow>,
    owner: &OwnerKey,
    also_ips: &[IpKey],
) -> Result<usize, Error> {
    let mut removed = 0;
    let sandbox = lookup(sandboxes, owner, SANDBOXES)?;
    for ip in sandbox.iter().flat_map(SandboxRow::ips).chain(also_ips) {
        removed += usize::from(remove_owned(pods, ip, owner)?);
    }
    if sandbox.is_some() {
        remove(sandboxes, owner, SANDBOXES)?;
    }
    Ok(removed)
}

/// Takes an address out if it belongs to `owner`.
fn remove_owned(
    pods: &mut HashMap<MapData, IpKey, PodRow>,
    ip: &IpKey,
    owner: &OwnerKey,
) -> Result<bool, Error> {
    match lookup(pods, ip, PODS)? {
        Some(row) if row.owner == *owner => remove(pods, ip, PODS),
        _ => Ok(false),
    }
}

fn open_map<K: Pod, V: Pod>(
    pins: &Pins,
    name: &'static str,
) -> Result<HashMap<MapData, K, V>, Error> {
    let data = MapData::from_pin(pins.map(name)).map_err(|source| match errno(&source) {
        Some(io::ErrorKind::NotFound) => pins.missing(name),
        _ => map_error(name, "open its pin", source),
    })?;
    Map::from_map_data(data)
        .and_then(HashMap::try_from)
        .map_err(|source| map_error(name, "use it as a hash of this layout", source))
}

fn lookup<K: Pod, V: Pod>(
    map: &HashMap<MapData, K, V>,
    key: &K,
    name: &'static str,
) -> Result<Option<V>, Error> {
    match map.get(key, 0) {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(source) => Err(map_error(name, "look up a row", source)),
    }
}

fn insert<K: Pod, V: Pod>(
    map: &mut HashMap<MapData, K, V>,
    key: &K,
    value: &V,
    name: &'static str,
) -> Result<(), Error> {
    map.insert(key, value, 0).map_err(|source| match &source {
        MapError::SyscallError(e) if e.io_error.raw_os_error() == Some(E2BIG) => Error::MapFull {
            name,
            capacity: MAX_PODS,
        },
        _ => map_error(name, "write a row", source),
    })
}

/// Says whether the row was there.
fn remove<K: Pod, V: Pod>(
    map: &mut HashMap<MapData, K, V>,
    key: &K,
    name: &'static str,
) -> Result<bool, Error> {
    match map.remove(key) {
        Ok(()) => Ok(true),
        Err(source) if errno(&source) == Some(io::ErrorKind::NotFound) => Ok(false),
        Err(source) => Err(map_error(name, "take a row out", source)),
    }
}

/// Every row once; see [`walk`].
fn rows<K: Pod + Eq + std::hash::Hash, V: Pod, S: Ord>(
    map: &HashMap<MapData, K, V>,
    name: &'static str,
    sort_by: fn(&K) -> S,
) -> Result<Vec<(K, V)>, Error> {
    let listed = walk::rows(map.iter(), MAX_PODS);
    let mut listed = listed.map_err(|source| map_error(name, "list its rows", source))?;
    listed.sort_by_key(|(key, _)| sort_by(key));
    Ok(listed)
}

fn errno(error: &MapError) -> Option<io::ErrorKind> {
    match error {
        MapError::SyscallError(e) => Some(e.io_error.kind()),
        _ => None,
    }
}

fn map_error(name: &'static str, op: &'static str, source: MapError) -> Error {
    if errno(&source) == Some(io::ErrorKind::PermissionDenied) {
        return Error::Permission {
            what: format!("{op}: map {name}"),
        };
    }
    Error::Map { name, op, source }
}
