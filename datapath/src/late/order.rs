//! Running `sockway_late`, in the network namespace of the sockets.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::thread;

use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use nix::sched::{CloneFlags, setns};
use sockway_common::addr::IpKey;
use sockway_common::end::EndRow;
use sockway_common::layout::program;
use sockway_common::order::{AT, Order, what};

use super::Namespaces;
use crate::attach::refused;
use crate::{Error, Pins};

/// The packet that carries an order.
#[repr(C)]
#[derive(Clone, Copy)]
struct Packet {
    head: [u8; AT],
    order: Order,
}

const _: () = assert!(size_of::<Packet>() == AT + size_of::<Order>());

impl Packet {
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the packet is plain old data without padding (asserted above, and for the order where
        // it is defined), so each of its bytes may be read, and any may be written.
        unsafe { core::slice::from_raw_parts_mut((&raw mut *self).cast(), size_of::<Self>()) }
    }
}

/// The program.
pub(super) struct Runner(SchedClassifier);

impl Runner {
    pub(super) fn open(pins: &Pins) -> Result<Self, Error> {
        let name = program::LATE;
        let pin = pins.program(name);
        if !pin.exists() {
            return Err(Error::NotInstalled { path: pin });
        }
        let program = SchedClassifier::from_pin(&pin).map_err(refused(name, "open"))?;
        Ok(Self(program))
    }

    /// Carries out one order that needs no namespace, or where the caller is in it.
    pub(super) fn run(&self, order: &mut Order) -> Result<(), Error> {
        let mut packet = Packet {
            head: [0; AT],
            order: *order,
        };
        let mut answer = packet;
        let options = TestRunOptions {
            data_in: Some(packet.bytes()),
            data_out: Some(answer.bytes()),
            ..TestRunOptions::default()
        };
        self.0
            .test_run(options)
            .map_err(refused(program::LATE, "run"))?;
        *order = answer.order;
        Ok(())
    }

    /// Carries out orders for sockets of several namespaces, by their inode numbers; the answers.
    /// Orders of a namespace that is not there are left out.
    pub(super) fn run_in(
        &self,
        namespaces: Namespaces<'_>,
        orders: Vec<(u32, Order)>,
    ) -> Result<Vec<Order>, Error> {
        let mut by_place: BTreeMap<u64, Vec<Order>> = BTreeMap::new();
        for (place, order) in orders {
            by_place.entry(u64::from(place)).or_default().push(order);
        }
        // Held for as long as this takes: an open namespace outlives its pod.
        let wanted = by_place.keys().copied().collect();
        let files: HashMap<u64, File> = namespaces(&wanted)
            .into_iter()
            .filter_map(|file| Some((file.metadata().ok()?.ino(), file)))
            .collect();
        let mut answers = Vec::new();
        let work = by_place
            .into_iter()
            .filter_map(|(place, orders)| Some((files.get(&place)?, orders)))
            .collect::<Vec<_>>();
        inside(|| {
            for (file, orders) in work {
                enter(file)?;
                for mut order in orders {
                    self.run(&mut order)?;
                    answers.push(order);
                }
            }
            Ok(answers)
        })
    }
}

/// Enters a network namespace with this thread.
pub(super) fn enter(namespace: &File) -> Result<(), Error> {
    setns(namespace, CloneFlags::CLONE_NEWNET)
        .map_err(|e| Error::io("enter", "a network namespace", e.into()))
}

/// Runs something in a thread of its own, which ends in another namespace than it began in.
pub(super) fn inside<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("sockets".to_owned())
            .spawn_scoped(scope, work)
            .map_err(|e| Error::io("start a thread for", "network namespaces", e))?;
        thread
            .join()
            .unwrap_or_else(|_| Err(Error::late("looking at sockets failed")))
    })
}

/// An order for the socket of a row.
pub(super) fn of(what: u32, cookie: u64, row: &EndRow) -> Order {
    Order {
        cookie,
        ..by_tuple(
            what,
            (row.local, row.local_port),
            (row.remote, row.remote_port),
        )
    }
}

/// An order for the socket with these addresses and ports.
pub(super) fn by_tuple(what: u32, local: (IpKey, u16), remote: (IpKey, u16)) -> Order {
    Order {
        what,
        local: local.0,
        remote: remote.0,
        local_port: local.1,
        remote_port: remote.1,
        // IPv4 on an IPv6 socket is found as IPv4 (`net/core/filter.c` `sk_lookup`).
        family: if local.0.is_v4() && remote.0.is_v4() {
            4
        } else {
            6
        },
        ..Order::default()
    }
}

/// Says of an end that there is nothing in the sockhash for it.
pub(super) fn alone(cookie: u64, why: u32) -> Order {
    Order {
        why,
        ..by_cookie(what::ALONE, cookie)
    }
}

/// An order that a cookie is enough for.
pub(super) fn by_cookie(what: u32, cookie: u64) -> Order {
    Order {
        what,
        cookie,
        ..Order::default()
    }
}
