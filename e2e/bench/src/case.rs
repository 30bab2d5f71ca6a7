//! One question: a tool with its numbers.

use serde::{Deserialize, Serialize};

use crate::topic::Topic;

/// How a case is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Tool {
    /// fortio's TCP echo through both Envoys.
    FortioTcp,
    /// fortio's HTTP echo through both Envoys.
    FortioHttp,
    /// fortio's gRPC ping through both Envoys.
    FortioGrpc,
    /// h2load with HTTP/1.1 against fortio's HTTP echo through both Envoys.
    Http1,
    /// The same with HTTP/2.
    Http2,
    /// Ping-pong between two threads on one CPU, no Envoy.
    Pair,
    /// New connections between two ends in one thread, no Envoy.
    Knock,
    /// Our own TCP echo client through both Envoys, all connections opened at once.
    PoolTcp,
    /// The same with HTTP/1.1.
    PoolHttp,
    /// fortio's gRPC ping on one channel.
    Channel,
    /// A file of nginx's, sent by `sendfile`, through both Envoys.
    Files,
    /// One stream towards a reader that takes a short read for the end of what is there, its
    /// answers the other way; no Envoy.
    Held,
    /// New connections through both Envoys, one request each.
    Dial,
    /// One stream through both Envoys.
    Bulk,
    /// One stream through both Envoys and back.
    Mirror,
    /// Requests from a registered pod to another node.
    AwayAsk,
    /// New connections from a registered pod to another node.
    AwayDial,
    /// One stream from a registered pod to another node.
    AwayBulk,
    /// `connect()` alone, both ends in one thread, no Envoy.
    Reach,
    /// `connect()` alone, from a registered pod to another node.
    AwayReach,
}

/// One case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Case {
    /// The question it belongs to.
    pub(crate) topic: Topic,
    /// How it is measured.
    pub(crate) tool: Tool,
    /// Connections at a time.
    pub(crate) connections: u32,
    /// Bytes of a message.
    pub(crate) payload: u32,
    /// Requests per second, 0 for as many as it can.
    pub(crate) limit: u32,
    /// Accelerated connections that are open beside it.
    pub(crate) idle: u32,
    /// Pods that are registered beside its own.
    pub(crate) pods: u32,
    /// With mutual TLS between the Envoys.
    #[serde(default)]
    pub(crate) secure: bool,
}

impl Tool {
    /// For a table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::FortioTcp => "TCP echo (fortio)",
            Self::FortioHttp => "HTTP echo (fortio)",
            Self::FortioGrpc => "gRPC ping (fortio)",
            Self::Http1 => "HTTP/1.1 echo (h2load)",
            Self::Http2 => "HTTP/2 echo (h2load)",
            Self::Pair => "ping-pong, one hop, one CPU",
            Self::Knock => "new connections, one hop, one CPU",
            Self::PoolTcp => "TCP echo (own client)",
            Self::PoolHttp => "HTTP echo (own client)",
            Self::Channel => "one gRPC channel (fortio)",
            Self::Files => "HTTP, nginx as server (fortio)",
            Self::Held => "stream to a reader of nginx's kind, one hop",
            Self::Dial => "new connections through both Envoys",
            Self::Bulk => "one stream through both Envoys",
            Self::Mirror => "one stream through both Envoys and back",
            Self::AwayAsk => "requests to another node",
            Self::AwayDial => "new connections to another node",
            Self::AwayBulk => "one stream to another node",
            Self::Reach => "connect() alone, one hop, one CPU",
            Self::AwayReach => "connect() alone, to another node",
        }
    }

    /// True where connections leave the node, so that none may be joined.
    pub(crate) const fn leaves(self) -> bool {
        matches!(
            self,
            Self::AwayAsk | Self::AwayDial | Self::AwayBulk | Self::AwayReach
        )
    }

    /// True where it goes through both Envoys, so that every hop has bytes.
    pub(crate) const fn meshed(self) -> bool {
        !self.leaves() && !matches!(self, Self::Pair | Self::Knock | Self::Reach | Self::Held)
    }

    /// What its rate counts.
    pub(crate) const fn unit(self) -> &'static str {
        match self {
            Self::Pair => "round trips/s",
            Self::Knock | Self::Dial | Self::AwayDial | Self::Reach | Self::AwayReach => {
                "connections/s"
            }
            Self::Bulk | Self::Mirror | Self::Held | Self::AwayBulk => "MiB/s",
            _ => "requests/s",
        }
    }
}

impl Case {
    /// As fast as it can, with nothing beside it and without mutual TLS.
    pub(crate) const fn new(topic: Topic, tool: Tool, connections: u32, payload: u32) -> Self {
        Self {
            topic,
            tool,
            connections,
            payload,
            limit: 0,
            idle: 0,
            pods: 0,
            secure: false,
        }
    }

    /// For a table.
    pub(crate) fn name(&self) -> String {
        let Self {
            tool,
            connections,
            payload,
            limit,
            idle,
            pods,
            secure,
            topic,
        } = self;
        let mut parts = vec![tool.name().to_owned()];
        if *secure {
            parts.push("mutual TLS".to_owned());
        }
        if *topic == Topic::Cold {
            parts.push("cold".to_owned());
        }
        if *connections > 1 {
            parts.push(format!("{connections} connections"));
        }
        match *payload {
            0 => {}
            small @ ..1024 => parts.push(format!("{small} B")),
            large => parts.push(format!("{} KiB", large >> 10)),
        }
        if *limit > 0 {
            parts.push(format!("{limit} requests/s asked"));
        }
        if idle + pods > 0 {
            parts.push(format!("beside {idle} idle connections and {pods} pods"));
        }
        parts.join(", ")
    }
}
