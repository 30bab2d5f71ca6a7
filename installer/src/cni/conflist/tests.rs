//! Edits of the files that real CNI plugins leave, against their expected results.
//!
//! Each `testdata/conflists/NAME.conflist` has a `NAME.golden`. After a change
//! that is meant, write them anew with `SOCKWAY_BLESS=1 cargo test -p sockway
//! conflist` and read the difference.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Conflist, Edit, PLUGIN_TYPE, Problem, insert, names_plugin, remove};

const NAMES: [&str; 9] = [
    "terway-veth",
    "terway-datapathv2",
    "terway-user-chain",
    "terway-istio",
    "istio-owned",
    "calico",
    "flannel",
    "kindnet",
    "ptp-portmap",
];

fn entry() -> Value {
    json!({
        "type": PLUGIN_TYPE,
        "capabilities": { "io.kubernetes.cri.pod-annotations": true },
        "scope": "all",
        "excludeNamespaces": ["kube-system"],
    })
}

fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/conflists")
        .join(file)
}

fn text(name: &str) -> String {
    fs::read_to_string(data(&format!("{name}.conflist"))).unwrap()
}

fn written(edit: Edit) -> String {
    match edit {
        Edit::Write(text) => text,
        Edit::Nothing => panic!("nothing was to be written"),
    }
}

fn kinds(text: &str) -> Vec<String> {
    Conflist::parse(text)
        .unwrap()
        .plugins
        .into_iter()
        .map(|p| p.kind)
        .collect()
}

#[test]
fn golden() {
    for name in NAMES {
        let new = written(insert(&text(name), &entry()).unwrap());
        let path = data(&format!("{name}.golden"));
        if std::env::var_os("SOCKWAY_BLESS").is_some() {
            fs::write(&path, &new).unwrap();
        }
        assert_eq!(new, fs::read_to_string(&path).unwrap(), "{name}");
    }
}

#[test]
fn every_file_has_a_golden_test() {
    let mut files: Vec<String> = fs::read_dir(data(""))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "conflist"))
        .map(|p| p.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    files.sort();
    let mut names = NAMES.map(str::to_owned);
    names.sort();
    assert_eq!(files, names);
}

#[test]
fn insertion_twice_is_insertion_once() {
    for name in NAMES {
        let once = written(insert(&text(name), &entry()).unwrap());
        assert_eq!(insert(&once, &entry()).unwrap(), Edit::Nothing, "{name}");
        assert_eq!(
            kinds(&once).iter().filter(|k| *k == PLUGIN_TYPE).count(),
            1,
            "{name}"
        );
    }
}

#[test]
fn removal_gives_back_every_byte() {
    for name in NAMES {
        let before = text(name);
        let after = written(insert(&before, &entry()).unwrap());
        assert_eq!(written(remove(&after).unwrap()), before, "{name}");
        assert_eq!(remove(&before).unwrap(), Edit::Nothing, "{name}");
    }
}

#[test]
fn an_entry_is_updated_where_it_stands() {
    let list = r#"{"cniVersion":"0.4.0","plugins":[{"type":"terway"},{"type":"sockway-cni","scope":"off"},{"type":"x","n":1.0}]}"#;
    let new = written(insert(list, &json!({"type": "sockway-cni", "scope": "all"})).unwrap());
    let expected = r#"{"cniVersion":"0.4.0","plugins":[{"type":"terway"},{"type":"sockway-cni","scope":"all"},{"type":"x","n":1.0}]}"#;
    assert_eq!(new, expected);
}

#[test]
fn the_order_of_keys_in_our_entry_does_not_matter() {
    let list = r#"{"cniVersion":"0.4.0","plugins":[{"type":"terway"},{"scope":"all","type":"sockway-cni"}]}"#;
    let same = json!({"type": "sockway-cni", "scope": "all"});
    assert_eq!(insert(list, &same).unwrap(), Edit::Nothing);
}

#[test]
fn duplicates_and_wrong_places_are_put_right() {
    let ours = r#"{"type":"sockway-cni"}"#;
    let wanted = json!({"type": "sockway-cni"});
    for list in [
        format!(
            r#"{{"cniVersion":"0.4.0","plugins":[{ours},{{"type":"terway"}},{{"type":"b"}}]}}"#
        ),
        format!(
            r#"{{"cniVersion":"0.4.0","plugins":[{{"type":"terway"}},{ours},{{"type":"b"}},{ours}]}}"#
        ),
        format!(
            r#"{{"cniVersion":"0.4.0","plugins":[{ours},{{"type":"terway"}},{ours},{ours},{{"type":"b"}}]}}"#
        ),
    ] {
        let new = written(insert(&list, &wanted).unwrap());
        assert_eq!(kinds(&new), ["terway", "sockway-cni", "b"], "{list}");
        assert_eq!(
            kinds(&written(remove(&list).unwrap())),
            ["terway", "b"],
            "{list}"
        );
    }
}

#[test]
fn terway_need_not_be_first() {
    let list = r#"{"cniVersion":"0.4.0","plugins":[{"type":"a"},{"type":"terway"},{"type":"b"}]}"#;
    let new = written(insert(list, &entry()).unwrap());
    assert_eq!(kinds(&new), ["a", "terway", "sockway-cni", "b"]);
}

#[test]
fn removal_from_a_list_of_ours_only() {
    let list = r#"{"cniVersion":"0.4.0","plugins":[ {"type":"sockway-cni"} ]}"#;
    assert_eq!(
        written(remove(list).unwrap()),
        r#"{"cniVersion":"0.4.0","plugins":[  ]}"#
    );
    assert_eq!(insert(list, &entry()).unwrap_err(), Problem::NoMainPlugin);
}

#[test]
fn removal_does_not_ask_for_the_version() {
    let list = r#"{"cniVersion":"7.0.0","plugins":[{"type":"x"},{"type":"sockway-cni"}]}"#;
    let expected = r#"{"cniVersion":"7.0.0","plugins":[{"type":"x"}]}"#;
    assert_eq!(written(remove(list).unwrap()), expected);
}

#[test]
fn the_newest_version_known_counts() {
    let list = r#"{"cniVersions":["1.0.0","9.0.0","1.1.0"],"cniVersion":"0.4.0","plugins":[]}"#;
    assert_eq!(Conflist::parse(list).unwrap().known_version(), Ok("1.1.0"));
}

#[test]
fn what_cannot_be_chained_is_refused() {
    let problem = |text: &str| insert(text, &entry()).unwrap_err();
    assert_eq!(problem(""), Problem::Empty);
    assert_eq!(problem(" \n\0\0"), Problem::Empty);
    assert!(matches!(
        problem(r#"{"cniVersion":"0.4.0","plugins":[{"#),
        Problem::NotJson(_)
    ));
    assert!(matches!(problem("[]"), Problem::Shape(_)));
    assert_eq!(
        problem(r#"{"cniVersion":"0.3.1","type":"terway"}"#),
        Problem::SinglePlugin("terway".to_owned())
    );
    assert!(matches!(
        problem(r#"{"cniVersion":"0.4.0","plugins":{}}"#),
        Problem::Shape(_)
    ));
    assert!(matches!(
        problem(r#"{"cniVersion":"0.4.0","plugins":[{"n":1}]}"#),
        Problem::Shape(_)
    ));
    assert!(matches!(
        problem(r#"{"cniVersion":"0.4.0"}"#),
        Problem::Shape(_)
    ));
    assert!(matches!(
        problem(r#"{"cniVersion":"0.4.0","plugins":[],"plugins":[]}"#),
        Problem::Shape(_)
    ));
    assert_eq!(
        problem(r#"{"cniVersion":"0.4.0","plugins":[]}"#),
        Problem::NoMainPlugin
    );
    for version in [r#""cniVersion":"0.2.0","#, r#""cniVersion":"2.0.0","#, ""] {
        let text = format!(r#"{{{version}"plugins":[{{"type":"terway"}}]}}"#);
        assert!(matches!(problem(&text), Problem::Version(_)), "{text}");
    }
}

/// Cutting a file at every byte never gives a panic, nor an edit of what is not whole.
#[test]
fn a_file_cut_short_is_never_edited() {
    for name in NAMES {
        let whole = text(name);
        let end = whole.trim_end().len();
        for at in (0..end).filter(|&at| whole.is_char_boundary(at)) {
            assert!(
                insert(&whole[..at], &entry()).is_err(),
                "{name} cut at {at}"
            );
        }
    }
}

const EMBEDDED: &str = r#"{
  "cniVersion": "0.4.0",
  "name": "multus-cni-network",
  "type": "multus",
  "n": 1.50,
  "delegates": [
    {
      "cniVersion": "0.3.1",
      "name": "terway-chainer",
      "plugins": [
        {"type": "terway", "eniip_virtual_type": "veth"}
      ]
    },
    {"name": "second", "plugins": [{"type": "macvlan"}]}
  ]
}
"#;

/// multus' copy of the main list, in its own file of one plugin and in a list.
#[test]
fn a_copy_inside_another_plugins_configuration() {
    let listed = r#"{"cniVersion":"0.4.0","name":"multus-cni-network","plugins":[{"type":"multus",
        "delegates":[{"name":"terway-chainer","plugins":[{"type":"terway"},{"type":"portmap"}]}]},{"type":"tuning"}]}"#;
    for (text, version, expected) in [
        (EMBEDDED, "0.3.1", &["terway", "sockway-cni"][..]),
        (listed, "0.4.0", &["terway", "sockway-cni", "portmap"]),
    ] {
        let list = Conflist::parse(text).unwrap();
        assert!(list.embedded);
        assert_eq!(list.name, "terway-chainer");
        assert_eq!(list.outer_name, "multus-cni-network");
        assert_eq!(list.known_version(), Ok(version));
        let new = written(insert(text, &entry()).unwrap());
        assert_eq!(kinds(&new), expected);
        assert_eq!(new.matches("\"sockway-cni\"").count(), 1, "{new}");
        assert_eq!(insert(&new, &entry()).unwrap(), Edit::Nothing);
        assert!(names_plugin(&new) && !names_plugin(text));
        assert_eq!(written(remove(&new).unwrap()), text);
    }
}

#[test]
fn entries_in_every_other_list_of_a_file_go() {
    let text = r#"{"cniVersion":"0.4.0","name":"m","plugins":[{"type":"multus","delegates":[
        {"name":"a","plugins":[{"type":"terway"}]},
        {"name":"b","plugins":[{"type":"macvlan"},{"type":"sockway-cni"}]},{"type":"sockway-cni"}]},
        {"type":"sockway-cni"}]}"#;
    let new = written(insert(text, &entry()).unwrap());
    assert_eq!(kinds(&new), ["terway", "sockway-cni"]);
    assert_eq!(new.matches("\"sockway-cni\"").count(), 1, "{new}");
    assert!(!written(remove(text).unwrap()).contains("sockway-cni"));
}

#[test]
fn a_copy_that_is_kept_elsewhere() {
    for text in [
        r#"{"cniVersion":"0.4.0","type":"multus-shim","clusterNetwork":"/host/etc/cni/net.d/10-terway.conflist"}"#,
        r#"{"cniVersion":"0.4.0","plugins":[{"type":"multus","clusterNetwork":"terway-chainer"}]}"#,
        r#"{"cniVersion":"0.4.0","type":"multus","delegates":[{"type":"terway"}]}"#,
    ] {
        assert!(matches!(
            insert(text, &entry()).unwrap_err(),
            Problem::Elsewhere(_)
        ));
        assert_eq!(remove(text).unwrap(), Edit::Nothing);
    }
}

#[test]
fn what_may_call_the_plugin() {
    assert!(names_plugin(r#"{"type":"sockway-cni"}"#), "alone");
    assert!(
        names_plugin(r#"{"plugins":[{"type":"sockway-cni"#),
        "cut short"
    );
    assert!(!names_plugin(
        r#"{"plugins":[{"type":"x","note":"sockway-cni"}]}"#
    ));
    assert!(!names_plugin(""));
}
