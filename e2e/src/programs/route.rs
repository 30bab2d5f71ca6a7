//! Ways through the bed.

/// Where client and server stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// In two pods with sidecars.
    Mesh,
    /// In two pods without: the server behind Envoy's inbound port.
    Inbound,
    /// In one pod without: the server behind Envoy's outbound port.
    Outbound,
    /// In one pod without: the client dials from where Envoy dials applications from.
    App,
}
