//! What stands around ours in a chain of reference plugins.

use serde_json::{Value, json};

/// Which families pods have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Families {
    V4,
    V6,
    Dual,
}

impl Families {
    pub(crate) const ALL: [Self; 3] = [Self::V4, Self::V6, Self::Dual];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::V4 => "v4",
            Self::V6 => "v6",
            Self::Dual => "dual",
        }
    }

    pub(crate) const fn count(self) -> usize {
        match self {
            Self::V4 | Self::V6 => 1,
            Self::Dual => 2,
        }
    }
}

/// What is made before ours in a chain of reference plugins, and after it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Bridge,
    PtpPortmap,
    BridgeTuningBandwidth,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Bridge, Self::PtpPortmap, Self::BridgeTuningBandwidth];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge,sockway-cni",
            Self::PtpPortmap => "ptp,sockway-cni,portmap",
            Self::BridgeTuningBandwidth => "bridge,tuning,sockway-cni,bandwidth",
        }
    }

    /// What a runtime hands over for the capabilities of the chain.
    pub(crate) fn capabilities(self, families: Families) -> Value {
        let annotations = json!({ "sockway.io/scope": "proxy", "other": "x" });
        let mut capabilities = json!({ "io.kubernetes.cri.pod-annotations": annotations });
        match self {
            Self::Bridge => {}
            Self::PtpPortmap => {
                let host = if families == Families::V6 {
                    "::1"
                } else {
                    "127.0.0.1"
                };
                capabilities["portMappings"] = json!([{
                    "hostPort": 18080, "containerPort": 8080, "protocol": "tcp", "hostIP": host,
                }]);
            }
            Self::BridgeTuningBandwidth => {
                capabilities["bandwidth"] =
                    json!({ "ingressRate": 80_000_000, "ingressBurst": 8_000_000 });
            }
        }
        capabilities
    }
}
