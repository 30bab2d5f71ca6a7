use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;

use serde_json::json;
use sockway_datapath::Error as DatapathError;
use sockway_datapath::section::Section;

use super::Error;

#[expect(clippy::too_many_lines, reason = "one row for each error")]
fn table() -> Vec<(Error, u8, &'static str)> {
    let path = PathBuf::from("/sys/fs/bpf/x");
    let bad_result = serde_json::from_str::<u8>("{}").unwrap_err();
    let bad_json = serde_json::from_str::<bool>("nope").unwrap_err();
    vec![
        (
            Error::Version {
                version: "9.9.9".into(),
            },
            1,
            "\"9.9.9\"",
        ),
        (
            Error::VerbVersion {
                verb: "GC",
                since: "1.1.0",
                version: "1.0.0".into(),
            },
            1,
            "GC needs cniVersion 1.1.0",
        ),
        (
            Error::Env {
                name: "CNI_IFNAME",
                why: "is not set".into(),
            },
            4,
            "CNI_IFNAME is not set",
        ),
        (Error::Stdin(io::Error::other("gone")), 5, "gone"),
        (
            Error::Decode {
                what: "it",
                source: bad_json,
            },
            6,
            "cannot decode it: expected",
        ),
        (Error::TooLarge, 7, "67108864 bytes"),
        (
            Error::Config("name is missing".into()),
            7,
            "name is missing",
        ),
        (Error::NoPrevResult, 7, "chained plugin"),
        (
            Error::Section(Section::parse(&json!({"a": 1})).unwrap_err()),
            7,
            "unknown key \"a\"",
        ),
        (
            Error::Annotation {
                name: "n",
                value: "v".into(),
                allowed: "w",
            },
            7,
            "n: \"v\"",
        ),
        (
            DatapathError::Busy {
                path: path.clone(),
                waited_ms: 9,
            }
            .into(),
            11,
            "9 ms",
        ),
        (Error::NotThere("nothing".into()), 50, "nothing"),
        (Error::Limited("half".into()), 51, "half"),
        (
            DatapathError::NotInstalled { path: path.clone() }.into(),
            100,
            "not installed",
        ),
        (
            DatapathError::NoBpffs {
                path: path.clone(),
                at: path.clone(),
            }
            .into(),
            100,
            "mount",
        ),
        (
            DatapathError::OtherLayout {
                root: path,
                found: "v9".into(),
            }
            .into(),
            101,
            "v9",
        ),
        (
            DatapathError::Permission {
                what: "do it".into(),
            }
            .into(),
            102,
            "run as root",
        ),
        (
            DatapathError::MapFull {
                name: "pods",
                capacity: 1,
            }
            .into(),
            102,
            "full",
        ),
        (
            Error::Netns {
                path: "/a\nb".into(),
                why: "gone".into(),
            },
            103,
            "\"/a\\nb\": gone",
        ),
        (
            Error::PrevResult(bad_result),
            104,
            "prevResult: invalid type: map",
        ),
        (Error::Address("10.0.0.999".into()), 104, "\"10.0.0.999\""),
        (
            Error::NoAddresses {
                ifname: "eth0".into(),
            },
            104,
            "eth0",
        ),
        (
            Error::TooManyAddresses { found: 17 },
            104,
            "17 addresses, at most 16",
        ),
        (Error::Mismatch(vec!["a".into(), "b".into()]), 105, "a; b"),
        (
            Error::Gc {
                removed: 3,
                why: "no".into(),
            },
            106,
            "3 stale",
        ),
    ]
}

#[test]
fn every_error_has_its_code_and_names_the_thing() {
    for (error, code, part) in table() {
        let details = error.details();
        assert_eq!(error.code(), code, "{details}");
        assert!(details.contains(part), "{details}");
        assert!(
            !details.ends_with('.') && !details.contains('\n'),
            "{details}"
        );
    }
}

#[test]
fn a_code_has_one_message_and_a_message_one_code() {
    let pairs: BTreeSet<_> = table()
        .iter()
        .map(|(e, code, _)| (*code, e.msg()))
        .collect();
    let codes: BTreeSet<_> = pairs.iter().map(|(code, _)| code).collect();
    let messages: BTreeSet<_> = pairs.iter().map(|(_, msg)| msg).collect();
    assert_eq!(codes.len(), pairs.len());
    assert_eq!(messages.len(), pairs.len());
}
