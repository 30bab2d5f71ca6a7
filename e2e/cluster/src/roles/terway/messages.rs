//! What terway's plugin and daemon say to each other, as far as the plugin looks at it.

use prost::Message;

/// Who asks: in each request it has these numbers.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(string, tag = "3")]
    pub(super) container: String,
}

/// Addresses of either family; ours are of one.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Set {
    #[prost(string, tag = "1")]
    pub(super) ipv4: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Basic {
    #[prost(message, optional, tag = "1")]
    pub(super) address: Option<Set>,
    #[prost(message, optional, tag = "2")]
    pub(super) subnet: Option<Set>,
    #[prost(message, optional, tag = "3")]
    pub(super) gateway: Option<Set>,
    #[prost(message, optional, tag = "4")]
    pub(super) services: Option<Set>,
}

/// A network interface of the node's.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Eni {
    #[prost(string, tag = "1")]
    pub(super) mac: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Net {
    #[prost(message, optional, tag = "1")]
    pub(super) basic: Option<Basic>,
    #[prost(message, optional, tag = "2")]
    pub(super) eni: Option<Eni>,
    #[prost(bool, tag = "6")]
    pub(super) default_route: bool,
}

/// Kinds of allocations.
pub(super) const EXCLUSIVE: i32 = 1;
pub(super) const POLICY: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Allocated {
    #[prost(bool, tag = "1")]
    pub(super) success: bool,
    #[prost(int32, tag = "2")]
    pub(super) kind: i32,
    #[prost(bool, tag = "3")]
    pub(super) ipv4: bool,
    #[prost(message, repeated, tag = "5")]
    pub(super) nets: Vec<Net>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Known {
    #[prost(int32, tag = "1")]
    pub(super) kind: i32,
    #[prost(bool, tag = "2")]
    pub(super) success: bool,
    #[prost(bool, tag = "3")]
    pub(super) ipv4: bool,
    #[prost(message, repeated, tag = "5")]
    pub(super) nets: Vec<Net>,
}

/// Of a release, and of an event.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Done {
    #[prost(bool, tag = "1")]
    pub(super) success: bool,
}
