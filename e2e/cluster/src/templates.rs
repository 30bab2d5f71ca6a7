//! Files with `@NAME@` in them, compiled in.

use std::collections::BTreeMap;

/// The text with each `@NAME@` replaced.
pub(crate) fn fill(text: &str, values: &BTreeMap<&str, String>) -> String {
    values.iter().fold(text.to_owned(), |text, (name, value)| {
        text.replace(&format!("@{name}@"), value)
    })
}

/// The text with what every file may name.
pub(crate) fn common(text: &str) -> String {
    use crate::place::{DNS_IP, NODE, NODE_IP, POD_CIDR, SERVICE_CIDR};
    let values = BTreeMap::from([
        ("DNS_IP", DNS_IP.to_owned()),
        ("NODE", NODE.to_owned()),
        ("NODE_IP", NODE_IP.to_owned()),
        ("POD_CIDR", POD_CIDR.to_owned()),
        ("SERVICE_CIDR", SERVICE_CIDR.to_owned()),
    ]);
    fill(text, &values)
}
