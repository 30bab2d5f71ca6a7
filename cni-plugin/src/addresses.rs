//! Which addresses an attachment has: those of prevResult, and of a family that
//! prevResult leaves out those of the interface itself (terway 1.0 reported
//! IPv4 only).

use std::borrow::Cow;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Deserialize;
use serde_json::value::RawValue;
use sockway_common::pod::MAX_IPS;

use crate::error::Error;
use crate::netns::Netns;

/// What of a result matters here; a result holds much more.
#[derive(Deserialize)]
struct Addresses<'a> {
    #[serde(borrow, default)]
    ips: Option<Vec<Address<'a>>>,
}

#[derive(Deserialize)]
struct Address<'a> {
    #[serde(borrow)]
    address: Cow<'a, str>,
}

/// Takes the addresses out of a result; without duplicates, in its order.
///
/// # Errors
/// [`Error::PrevResult`], [`Error::Address`], [`Error::TooManyAddresses`].
pub fn of_result(result: &RawValue) -> Result<Vec<IpAddr>, Error> {
    let Addresses { ips } = serde_json::from_str(result.get()).map_err(Error::PrevResult)?;
    let ips = ips.unwrap_or_default();
    if ips.len() > MAX_IPS {
        return Err(Error::TooManyAddresses { found: ips.len() });
    }
    let mut found = Vec::with_capacity(MAX_IPS);
    for Address { address } in &ips {
        // With or without a prefix length; it is the whole pod network's and means nothing here.
        let network: IpNetwork = address
            .parse()
            .map_err(|_| Error::Address(shortened(address)))?;
        add(&mut found, network.ip());
    }
    Ok(found)
}

/// Completes `found` from the namespace.
///
/// What goes wrong there matters only where nothing is known otherwise.
///
/// # Errors
/// [`Error::Netns`], [`Error::NoAddresses`], [`Error::TooManyAddresses`].
pub fn complete(mut found: Vec<IpAddr>, netns: &Netns, ifname: &str) -> Result<Vec<IpAddr>, Error> {
    let (v4, v6) = (
        found.iter().any(IpAddr::is_ipv4),
        found.iter().any(IpAddr::is_ipv6),
    );
    if !(v4 && v6) {
        match netns.addresses(ifname) {
            Ok(addresses) => {
                let missing = |ip: &IpAddr| if ip.is_ipv4() { !v4 } else { !v6 };
                for ip in addresses.into_iter().filter(missing) {
                    // The kernel makes as many as routers announce: a pod is registered with the first ones.
                    if found.len() < MAX_IPS {
                        add(&mut found, ip);
                    }
                }
            }
            Err(error) if found.is_empty() => return Err(error),
            Err(error) => log::debug!("only prevResult's addresses are known: {error}"),
        }
    }
    match found.len() {
        0 => Err(Error::NoAddresses {
            ifname: ifname.to_owned(),
        }),
        1..=MAX_IPS => Ok(found),
        count => Err(Error::TooManyAddresses { found: count }),
    }
}

/// Adds an address that can be a pod's, once.
fn add(found: &mut Vec<IpAddr>, ip: IpAddr) {
    let ip = ip.to_canonical();
    if !of_a_pod(ip) {
        log::debug!("{ip} is left out: no address of a pod alone");
    } else if !found.contains(&ip) {
        found.push(ip);
    }
}

/// An address that says nothing about which pod it belongs to (every pod has
/// a loopback and a link-local one) must never be registered.
fn of_a_pod(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local() || v4.is_broadcast(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(ip.is_loopback() || ip.is_unspecified() || ip.is_multicast() || link_local)
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 64;
    text[..text.floor_char_boundary(SHOWN)].to_owned()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::of_result;

    fn read(result: &str) -> Result<Vec<String>, String> {
        of_result(serde_json::from_str(result).unwrap())
            .map(|ips| ips.iter().map(IpAddr::to_string).collect())
            .map_err(|error| format!("{} {}", error.code(), error.details()))
    }

    #[test]
    fn results_of_real_plugins() {
        // terway: sandbox is a container id, one entry for each family.
        let terway = r#"{"cniVersion":"0.4.0","interfaces":[{"name":"eth0","sandbox":"0123abc"}],
            "ips":[{"version":"4","interface":0,"address":"10.0.0.7/24","gateway":"10.0.0.253"},
                   {"version":"6","interface":0,"address":"fd00::7/64","gateway":"fd00::fd"}],
            "dns":{}}"#;
        assert_eq!(read(terway).unwrap(), ["10.0.0.7", "fd00::7"]);
        assert_eq!(
            read(r#"{"ips":[{"address":"10.0.0.7"}]}"#).unwrap(),
            ["10.0.0.7"]
        );
        assert!(
            read(r#"{"cniVersion":"1.0.0","dns":{}}"#)
                .unwrap()
                .is_empty()
        );
        assert!(read(r#"{"ips":null}"#).unwrap().is_empty());
        assert!(read(r#"{"ips":[]}"#).unwrap().is_empty());
    }

    #[test]
    fn one_address_is_one_row() {
        let result = r#"{"ips":[{"address":"10.0.0.7/24"},{"address":"10.0.0.7/16"},
            {"address":"::ffff:10.0.0.7/128"}]}"#;
        assert_eq!(read(result).unwrap(), ["10.0.0.7"]);
    }

    #[test]
    fn what_every_pod_has_is_left_out() {
        for ip in [
            "127.0.0.1",
            "::1",
            "fe80::1",
            "169.254.1.1",
            "0.0.0.0",
            "::",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "::ffff:127.0.0.6",
        ] {
            let result = format!(r#"{{"ips":[{{"address":"{ip}/8"}}]}}"#);
            assert!(read(&result).unwrap().is_empty(), "{ip}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let table = [
            (
                r#"{"ips":[{"address":"10.0.0.999/24"}]}"#,
                "104 prevResult holds \"10.0.0.999/24\"",
            ),
            (r#"{"ips":[{"address":""}]}"#, "104 prevResult holds \"\""),
            (
                r#"{"ips":[{"address":"10.0.0.1/33"}]}"#,
                "104 prevResult holds",
            ),
            (
                r#"{"ips":[{"address":"a\nb"}]}"#,
                "104 prevResult holds \"a\\nb\"",
            ),
            (
                r#"{"ips":[{}]}"#,
                "104 cannot read the addresses of prevResult: missing field",
            ),
            (
                r#"{"ips":"10.0.0.1"}"#,
                "104 cannot read the addresses of prevResult: invalid type",
            ),
            (
                r#"{"ips":[{"address":1}]}"#,
                "104 cannot read the addresses of prevResult",
            ),
        ];
        for (result, expected) in table {
            let error = read(result).unwrap_err();
            assert!(error.starts_with(expected), "{result}: {error}");
        }
        let many: Vec<_> = (0..10_000)
            .map(|n| format!(r#"{{"address":"10.1.{}.{}/16"}}"#, n / 250, n % 250))
            .collect();
        let error = read(&format!(r#"{{"ips":[{}]}}"#, many.join(","))).unwrap_err();
        assert!(error.contains("10000 addresses, at most 16"), "{error}");
    }
}
