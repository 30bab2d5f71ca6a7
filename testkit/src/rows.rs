//! Rows of the maps that pods are registered in.

use std::fmt;
use std::fs::{self, Permissions};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use sockway_common::addr::IpKey;
use sockway_common::part::Part;
use sockway_common::pod::{
    DEFAULT_INBOUND_PORT, DEFAULT_OUTBOUND_PORT, OwnerKey, PodRow, SandboxRow, field_text,
};
use sockway_common::scope;
use sockway_datapath::registry::{create_pods, ensure_sandboxes};
use sockway_datapath::{Pins, Registry, calls};

/// A registered address, for comparison and for a person.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The address.
    pub ip: IpAddr,
    /// The runtime's name for the pod's container.
    pub container: String,
    /// The interface.
    pub ifname: String,
    /// `namespace/name`.
    pub pod: String,
    /// How far it takes part.
    pub scope: &'static str,
    /// Envoy's outbound and inbound port.
    pub ports: [u16; 2],
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ip,
            container,
            scope,
            ports: [outbound, inbound],
            ..
        } = self;
        write!(f, "{ip} {container} {outbound}/{inbound} {scope}")
    }
}

/// Pins the maps that the plugin uses below a directory in a bpffs, as the installer does.
pub fn pin_maps(root: &Path) -> Result<Pins> {
    let pins = Pins::new(root);
    fs::create_dir_all(pins.dir()).context("make the pin directory")?;
    for dir in [pins.root(), &pins.dir()] {
        fs::set_permissions(dir, Permissions::from_mode(0o700)).context("chmod it")?;
    }
    create_pods(&pins).context("pin pods")?;
    ensure_sandboxes(&pins).context("pin sandboxes")?;
    calls::ensure(&pins).context("pin calls")?;
    Ok(pins)
}

/// Registers some addresses as a pod of a name, with Envoy's usual ports, or gives it another scope.
pub fn register(registry: &mut Registry, name: &str, ips: &[IpAddr], scope: u32) -> Result<()> {
    let owner = OwnerKey::new(name, "eth0");
    let row = PodRow {
        owner,
        outbound_port: DEFAULT_OUTBOUND_PORT,
        inbound_port: DEFAULT_INBOUND_PORT,
        scope,
    };
    let mut sandbox = SandboxRow {
        ip_count: u32::try_from(ips.len())?,
        part: Part::of(scope).word(),
        ..SandboxRow::default()
    };
    for (slot, ip) in sandbox.ips.iter_mut().zip(ips) {
        *slot = IpKey::from(*ip);
    }
    registry
        .register(owner, &sandbox, &row)
        .with_context(|| format!("register {name}"))
}

/// Everything that is registered, in ascending order.
pub fn list(pins: &Pins) -> Result<Vec<Row>> {
    let registry = Registry::open(pins)?;
    let mut rows = Vec::new();
    for (ip, pod) in registry.pods()? {
        let owner = registry.sandbox(&pod.owner)?;
        let owner = owner.with_context(|| format!("the row of {ip} has no attachment"))?;
        let text = |field: &[u8]| field_text(field).to_owned();
        rows.push(Row {
            ip: ip.into(),
            container: text(&owner.container_id),
            ifname: text(&owner.ifname),
            pod: format!("{}/{}", text(&owner.pod_namespace), text(&owner.pod_name)),
            scope: scope::name(pod.scope),
            ports: [pod.outbound_port, pod.inbound_port],
        });
    }
    rows.sort();
    Ok(rows)
}
