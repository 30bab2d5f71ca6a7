//! The registry on real maps. Needs root: see `sockway_testkit::ring`.

use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::time::{Duration, Instant};

use sockway_common::addr::IpKey;
use sockway_common::layout::MAX_PODS;
use sockway_common::pod::{MAX_IPS, OwnerKey, PodRow, SandboxRow, text_field};
use sockway_datapath::registry::ensure_sandboxes;
use sockway_datapath::{Error, Pins, Registry};
use sockway_testkit::bpffs::Bpffs;
use sockway_testkit::needs;
use sockway_testkit::ring::privileged;
use sockway_testkit::rows::pin_maps;

fn pinned(bpffs: &Bpffs) -> Pins {
    pin_maps(&bpffs.path().join("sockway")).unwrap()
}

fn ip(text: &str) -> IpKey {
    text.parse::<IpAddr>().unwrap().into()
}

fn owner(id: &str) -> OwnerKey {
    OwnerKey::new(id, "eth0")
}

fn sandbox(id: &str, addresses: &[&str]) -> SandboxRow {
    let mut row = SandboxRow {
        container_id: text_field(id),
        ip_count: addresses.len().try_into().unwrap(),
        ..SandboxRow::default()
    };
    for (place, address) in row.ips.iter_mut().zip(addresses) {
        *place = ip(address);
    }
    row
}

fn row(id: &str) -> PodRow {
    PodRow {
        owner: owner(id),
        outbound_port: 15001,
        inbound_port: 15006,
        scope: 2,
    }
}

fn add(registry: &mut Registry, id: &str, addresses: &[&str]) {
    registry
        .register(owner(id), &sandbox(id, addresses), &row(id))
        .unwrap();
}

#[test]
fn rows_come_and_go_with_their_owner() {
    needs!(privileged("rows_come_and_go_with_their_owner"));
    let bpffs = Bpffs::mount();
    let pins = pinned(&bpffs);
    let mut registry = Registry::open(&pins).unwrap();

    add(&mut registry, "a", &["10.0.0.1", "fd00::1"]);
    assert_eq!(registry.pod(&ip("10.0.0.1")).unwrap(), Some(row("a")));
    assert_eq!(registry.pod(&ip("fd00::1")).unwrap(), Some(row("a")));
    assert_eq!(
        registry.sandbox(&owner("a")).unwrap(),
        Some(sandbox("a", &["10.0.0.1", "fd00::1"]))
    );

    // Again, with one address less and one more.
    add(&mut registry, "a", &["fd00::1", "10.0.0.2"]);
    assert_eq!(registry.pod(&ip("10.0.0.1")).unwrap(), None);
    assert_eq!(registry.pods().unwrap().len(), 2);

    // The address goes to the next pod before the first one's DEL comes.
    add(&mut registry, "b", &["10.0.0.2"]);
    assert_eq!(
        registry.unregister(&owner("a"), &[ip("10.0.0.2")]).unwrap(),
        1
    );
    assert_eq!(registry.pods().unwrap(), [(ip("10.0.0.2"), row("b"))]);
    assert_eq!(registry.sandboxes().unwrap().len(), 1);

    // Twice is once.
    assert_eq!(
        registry.unregister(&owner("a"), &[ip("10.0.0.2")]).unwrap(),
        0
    );
    assert_eq!(registry.unregister(&owner("b"), &[]).unwrap(), 1);
    assert!(registry.pods().unwrap().is_empty());
    assert!(registry.sandboxes().unwrap().is_empty());
}

#[test]
fn retain_takes_out_the_rest_and_orphans() {
    needs!(privileged("retain_takes_out_the_rest_and_orphans"));
    let bpffs = Bpffs::mount();
    let pins = pinned(&bpffs);
    let mut registry = Registry::open(&pins).unwrap();
    for n in 0..20 {
        add(
            &mut registry,
            &format!("c{n}"),
            &[&format!("10.1.0.{n}"), &format!("fd00::1:{n}")],
        );
    }
    // Orphans: the attachments' rows vanish behind the registry's back.
    fs::remove_file(pins.map("sandboxes")).unwrap();
    ensure_sandboxes(&pins).unwrap();
    let mut registry = Registry::open(&pins).unwrap();
    add(&mut registry, "c7", &["10.1.0.7", "fd00::1:7"]);
    add(&mut registry, "c8", &["10.1.0.8", "fd00::1:8"]);

    let done = registry.retain(|who, _| *who == owner("c7")).unwrap();
    assert!(done.errors.is_empty(), "{:?}", done.errors);
    assert_eq!(done.removed.len(), 1);
    assert_eq!(done.removed[0].0, owner("c8"));
    assert_eq!(done.orphans, 18 * 2);
    let left: Vec<_> = registry
        .pods()
        .unwrap()
        .into_iter()
        .map(|(ip, _)| ip)
        .collect();
    assert_eq!(left, [ip("10.1.0.7"), ip("fd00::1:7")]);
    assert_eq!(registry.sandboxes().unwrap().len(), 1);
}

#[test]
fn a_full_map_leaves_nothing_of_the_newcomer() {
    needs!(privileged("a_full_map_leaves_nothing_of_the_newcomer"));
    let bpffs = Bpffs::mount();
    let pins = pinned(&bpffs);
    let mut registry = Registry::open(&pins).unwrap();
    let mut left = MAX_PODS;
    let mut n = 0_u32;
    while left > 0 {
        let count = left.min(MAX_IPS - 1);
        let mut full = SandboxRow {
            ip_count: count.try_into().unwrap(),
            ..SandboxRow::default()
        };
        for place in &mut full.ips[..count] {
            *place = IpKey::from_v4(n.to_be_bytes());
            n += 1;
        }
        let id = format!("f{n}");
        registry.register(owner(&id), &full, &row(&id)).unwrap();
        left -= count;
    }
    let error = registry
        .register(
            owner("late"),
            &sandbox("late", &["fd00::1", "fd00::2"]),
            &row("late"),
        )
        .unwrap_err();
    assert!(
        matches!(error, Error::MapFull { name: "pods", .. }),
        "{error}"
    );
    assert_eq!(registry.sandbox(&owner("late")).unwrap(), None);
    assert_eq!(registry.pods().unwrap().len(), MAX_PODS);
}

#[test]
fn a_held_lock_is_waited_for_but_not_for_ever() {
    needs!(privileged("a_held_lock_is_waited_for_but_not_for_ever"));
    let bpffs = Bpffs::mount();
    let pins = pinned(&bpffs);
    let mut registry = Registry::open(&pins).unwrap();
    let dir = fs::File::open(pins.dir()).unwrap();
    dir.lock().unwrap();
    let start = Instant::now();
    let error = registry.unregister(&owner("a"), &[]).unwrap_err();
    assert!(matches!(error, Error::Busy { .. }), "{error}");
    let waited = start.elapsed();
    assert!(
        (Duration::from_secs(1)..Duration::from_secs(3)).contains(&waited),
        "{waited:?}"
    );
    // Readers do not wait.
    assert!(registry.pods().unwrap().is_empty());
    dir.unlock().unwrap();
    assert_eq!(registry.unregister(&owner("a"), &[]).unwrap(), 0);
}

#[test]
fn what_is_missing_or_not_to_be_trusted_is_named() {
    needs!(privileged("what_is_missing_or_not_to_be_trusted_is_named"));
    let bpffs = Bpffs::mount();
    let pins = Pins::new(bpffs.path().join("sockway"));
    let open = || Registry::open(&pins).unwrap_err();
    assert!(matches!(open(), Error::NotInstalled { .. }), "{}", open());

    fs::create_dir_all(pins.root().join("v999")).unwrap();
    assert!(matches!(open(), Error::OtherLayout { .. }), "{}", open());

    let pins = pinned(&bpffs);
    let distrusted = |what: &str| {
        let error = Registry::open(&pins).unwrap_err();
        let op = "trust the pin directory";
        assert!(
            matches!(error, Error::Io { op: found, .. } if found == op),
            "{what}: {error}"
        );
    };
    for path in [pins.dir(), pins.root().to_owned()] {
        fs::set_permissions(&path, Permissions::from_mode(0o777)).unwrap();
        distrusted("others may write there");
        fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        chown(&path, Some(1000), None).unwrap();
        distrusted("another user's");
        chown(&path, Some(0), None).unwrap();
    }
    let aside = pins.root().with_file_name("aside");
    fs::rename(pins.root(), &aside).unwrap();
    symlink(&aside, pins.root()).unwrap();
    distrusted("a symlink");
    fs::remove_file(pins.root()).unwrap();
    fs::rename(&aside, pins.root()).unwrap();

    // A map of another shape under our name.
    fs::remove_file(pins.map("pods")).unwrap();
    assert!(matches!(
        Registry::open(&pins).unwrap_err(),
        Error::NotInstalled { .. }
    ));
    fs::rename(pins.map("sandboxes"), pins.map("pods")).unwrap();
    let error = Registry::open(&pins).unwrap_err();
    assert!(matches!(error, Error::Map { name: "pods", .. }), "{error}");
}

#[test]
fn writers_in_parallel_leave_the_right_rows() {
    needs!(privileged("writers_in_parallel_leave_the_right_rows"));
    let bpffs = Bpffs::mount();
    let pins = pinned(&bpffs);
    let mut registries: Vec<_> = (0..4).map(|_| Registry::open(&pins).unwrap()).collect();
    std::thread::scope(|scope| {
        for (n, registry) in registries.iter_mut().enumerate() {
            scope.spawn(move || {
                for round in 0..500 {
                    let id = format!("p{n}-{round}");
                    // All threads fight for the same 8 addresses.
                    let address = format!("10.2.0.{}", round % 8);
                    add(registry, &id, &[&address]);
                    registry.unregister(&owner(&id), &[]).unwrap();
                }
            });
        }
    });
    assert!(registries[0].pods().unwrap().is_empty());
    assert!(registries[0].sandboxes().unwrap().is_empty());
}
