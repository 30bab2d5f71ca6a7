//! Every verb twice, in every version, by every driver.

use std::net::IpAddr;

use anyhow::{Context, Result, bail};

use super::{Cases, expect_ips};
use crate::chains::{Chain, Families, VERSIONS};
use crate::drivers::{Answer, Call, Driver, Verb};
use crate::matrix::Matrix;
use crate::node::Node;
use crate::pod::Pod;

pub(super) fn cases(cases: &mut Cases<'_>, matrix: &mut Matrix) {
    for version in VERSIONS {
        for driver in Driver::ALL {
            let name = format!("verbs/{version}/{}", driver.name().replace(' ', "-"));
            cases.case(&name, |node| all(node, version, driver, matrix));
        }
    }
}

/// What a cell shows where all was as it should be.
const OK: &str = "ok";
/// The driver keeps the verb from plugins of that version.
const NOT_CALLED: &str = "not called";

struct Bench<'a> {
    node: &'a Node,
    chain: Chain,
    driver: Driver,
    pod: Pod,
    ips: Vec<IpAddr>,
}

impl Bench<'_> {
    fn call(&self, verb: Verb) -> Result<Answer> {
        let valid = vec![&self.pod];
        let ips = self.ips.clone();
        let call = Call {
            valid,
            ips,
            ..Call::new(verb, &self.pod)
        };
        self.driver.call(self.node, &self.chain, &call)
    }

    /// An error if our plugin was not called that often.
    fn called(&self, verb: Verb, times: usize) -> Result<()> {
        let found = self.chain.logged(verb.name());
        if found != times {
            bail!(
                "the plugin's log has {found} lines of {}, not {times}",
                verb.name()
            );
        }
        Ok(())
    }

    fn at_least(&self, version: &str) -> bool {
        let place = |version: &str| VERSIONS.iter().position(|known| *known == version);
        place(self.chain.version) >= place(version)
    }
}

fn all(node: &Node, version: &'static str, driver: Driver, matrix: &mut Matrix) -> Result<()> {
    let chain = Chain::terway(node, Families::Dual, version, "full", false)?;
    let pod = Pod::new()?;
    let mut ips = Vec::new();
    if driver == Driver::ByHand {
        // No plugin before ours makes the interface.
        ips = vec!["10.66.1.1".parse()?, "fd66::1:1".parse()?];
        pod.wire(&ips)?;
    }
    let bench = Bench {
        node,
        chain,
        driver,
        pod,
        ips,
    };
    let mut first = None;
    for verb in Verb::ALL {
        let seen = one(&bench, verb).with_context(|| verb.name());
        matrix.note(verb, driver, version, seen.as_ref().unwrap_or(&"FAILED"));
        if let Err(error) = seen {
            first.get_or_insert(error);
        }
    }
    first.map_or(Ok(()), Err)
}

fn one(bench: &Bench<'_>, verb: Verb) -> Result<&'static str> {
    let by_hand = bench.driver == Driver::ByHand;
    match verb {
        Verb::Version if bench.driver == Driver::Cnitool => return Ok("-"),
        Verb::Version => twice(bench, verb, |_| Ok(())),
        Verb::Status | Verb::Check | Verb::Gc if by_hand && !bench.at_least(since(verb)) => {
            for _ in 0..2 {
                bench.call(verb)?.fails(1, "incompatible CNI version")?;
            }
            bench.called(verb, 2)?;
            return Ok("error 1");
        }
        Verb::Check if !bench.at_least(since(verb)) => {
            bench
                .call(verb)?
                .fails(1, "does not support the CHECK command")?;
            bench.called(verb, 0)?;
            return Ok("refused");
        }
        Verb::Gc if bench.driver == Driver::Cnitool => return cnitools_gc(bench),
        Verb::Status | Verb::Gc if !bench.at_least(since(verb)) => {
            twice(bench, verb, |_| Ok(()))?;
            bench.called(verb, 0)?;
            return Ok(NOT_CALLED);
        }
        Verb::Status | Verb::Check | Verb::Gc => twice(bench, verb, |_| Ok(())),
        Verb::Add => {
            // DEL without ADD, too.
            bench.call(Verb::Del)?.ok()?;
            bench.node.expect_nothing()?;
            twice(bench, verb, |answer| {
                let mut ips = answer.ips();
                ips.sort_unstable();
                if ips.len() != 2 {
                    bail!("not two addresses: {:?}", answer.result);
                }
                expect_ips(bench.node, &ips)
            })
        }
        Verb::Del => twice(bench, verb, |_| bench.node.expect_nothing()),
    }?;
    if verb == Verb::Del {
        // One before ADD; cnitool's GC makes more of them.
        if bench.chain.logged(verb.name()) < 3 {
            bail!("the plugin's log lacks lines of DEL");
        }
    } else if verb != Verb::Version {
        bench.called(verb, 2)?;
    }
    if verb == Verb::Gc && bench.node.rows()?.len() != 2 {
        bail!("GC removed an attachment that is valid");
    }
    Ok(OK)
}

fn twice(bench: &Bench<'_>, verb: Verb, check: impl Fn(&Answer) -> Result<()>) -> Result<()> {
    for time in ["first", "second"] {
        let answer = bench.call(verb)?.ok().with_context(|| time)?;
        check(&answer).with_context(|| time)?;
    }
    Ok(())
}

/// cnitool names no valid attachments: everything of the network has to go.
fn cnitools_gc(bench: &Bench<'_>) -> Result<&'static str> {
    twice(bench, Verb::Gc, |_| bench.node.expect_nothing())?;
    if bench.at_least(since(Verb::Gc)) {
        bench.called(Verb::Gc, 2)?;
        return Ok(OK);
    }
    bench.called(Verb::Gc, 0)?;
    Ok("DEL instead")
}

/// The version that brought a verb.
const fn since(verb: Verb) -> &'static str {
    match verb {
        Verb::Version | Verb::Add | Verb::Del => "0.3.0",
        Verb::Check => "0.4.0",
        Verb::Status | Verb::Gc => "1.1.0",
    }
}
