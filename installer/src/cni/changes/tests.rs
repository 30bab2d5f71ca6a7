use std::fs;
use std::path::Path;

use super::{ATTEMPTS, apply, naming, plan, plan_removal, take_back};
use crate::cni::CniArgs;
use crate::cni::settings::Settings;
use crate::sys::files::Written;

const TERWAY: &str = r#"{"cniVersion":"0.4.0","plugins":[{"type":"terway"}]}"#;
const ISTIO: &str = r#"{"cniVersion":"0.4.0","plugins":[{"type":"terway"},{"type":"istio-cni"}]}"#;
const ROOT: &str = "/sys/fs/bpf/sockway";

fn cni(dir: &Path) -> CniArgs {
    CniArgs::under(dir)
}

fn install(dir: &Path, settings: &Settings) -> anyhow::Result<Vec<Written>> {
    let outcomes = apply(
        ATTEMPTS,
        || plan(&cni(dir), settings, Path::new(ROOT)),
        |_| {},
    )?;
    Ok(outcomes.into_iter().map(|o| o.written).collect())
}

#[test]
fn in_and_out_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("10-terway.conflist");
    fs::write(&path, TERWAY).unwrap();
    assert_eq!(
        install(dir.path(), &Settings::default()).unwrap(),
        [Written::Changed]
    );
    assert_eq!(
        install(dir.path(), &Settings::default()).unwrap(),
        [Written::Unchanged]
    );
    let scope = Settings {
        scope: Some("all".to_owned()),
        ..Settings::default()
    };
    assert_eq!(install(dir.path(), &scope).unwrap(), [Written::Changed]);
    assert!(
        fs::read_to_string(&path)
            .unwrap()
            .contains(r#""scope":"all""#)
    );
    apply(ATTEMPTS, || plan_removal(dir.path()), |_| {}).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), TERWAY);
    assert!(
        apply(ATTEMPTS, || plan_removal(dir.path()), |_| {})
            .unwrap()
            .is_empty()
    );
}

#[test]
fn an_entry_by_way_of_the_config_map_is_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let text = r#"{"cniVersion":"0.4.0","plugins":[{"type":"terway"},
        {"type":"sockway-cni","scope":"proxy","capabilities":{"io.kubernetes.cri.pod-annotations":true}},
        {"type":"cilium-cni"}]}"#;
    fs::write(dir.path().join("10-terway.conflist"), text).unwrap();
    assert_eq!(
        install(dir.path(), &Settings::default()).unwrap(),
        [Written::Unchanged]
    );
}

#[test]
fn istio_owned_mode_gets_the_entry_twice() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("02-istio-cni.conflist"), ISTIO).unwrap();
    fs::write(dir.path().join("10-terway.conflist"), TERWAY).unwrap();
    let written = install(dir.path(), &Settings::default()).unwrap();
    assert_eq!(written, [Written::Changed, Written::Changed]);
    assert_eq!(
        apply(ATTEMPTS, || plan_removal(dir.path()), |_| {})
            .unwrap()
            .len(),
        2
    );
    assert_eq!(
        fs::read_to_string(dir.path().join("02-istio-cni.conflist")).unwrap(),
        ISTIO
    );
}

#[test]
fn a_change_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("10-terway.conflist");
    fs::write(&path, TERWAY).unwrap();
    let mut heard = Vec::new();
    let settings = Settings::default();
    apply(
        ATTEMPTS,
        || plan(&cni(dir.path()), &settings, Path::new(ROOT)),
        |o| heard.push(o.clone()),
    )
    .unwrap();
    take_back(&heard[0]).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), TERWAY);
}

/// terway wrote between the change and its being taken back.
#[test]
fn what_another_program_wrote_since_is_not_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("10-terway.conflist");
    let with = r#"{"cniVersion":"0.4.0","plugins":[{"type":"terway"},{"type":"sockway-cni","scope":"proxy"}]}"#;
    for before in [with, TERWAY] {
        fs::write(&path, before).unwrap();
        let settings = Settings {
            scope: Some("all".to_owned()),
            ..Settings::default()
        };
        let mut heard = Vec::new();
        let plan = || plan(&cni(dir.path()), &settings, Path::new(ROOT));
        apply(ATTEMPTS, plan, |o| heard.push(o.clone())).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("terway\"", "terway\",\"mtu\":1400")).unwrap();
        take_back(&heard[0]).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"mtu\":1400"), "{text}");
        assert_eq!(
            text.contains("\"scope\":\"proxy\""),
            before == with,
            "{text}"
        );
        assert!(!text.contains("\"scope\":\"all\""), "{text}");
    }
}

const MULTUS: &str = r#"{"cniVersion":"0.4.0","name":"multus-cni-network","type":"multus","delegates":[
    {"cniVersion":"0.4.0","name":"terway-chainer","plugins":[{"type":"terway"}]}]}"#;
const PODMAN: &str = r#"{"cniVersion":"0.4.0","name":"podman","plugins":[{"type":"bridge","bridge":"cni-podman0"}]}"#;

#[test]
fn a_copy_that_multus_keeps_gets_the_entry_and_loses_it() {
    let dir = tempfile::tempdir().unwrap();
    let list = TERWAY.replace("\"plugins", "\"name\":\"terway-chainer\",\"plugins");
    fs::write(dir.path().join("00-multus.conf"), MULTUS).unwrap();
    fs::write(dir.path().join("10-terway.conflist"), &list).unwrap();
    let settings = Settings::default();
    let written = install(dir.path(), &settings).unwrap();
    assert_eq!(written, [Written::Changed, Written::Changed]);
    let written = install(dir.path(), &settings).unwrap();
    assert_eq!(written, [Written::Unchanged, Written::Unchanged]);
    assert_eq!(naming(dir.path()).unwrap().len(), 2);
    apply(ATTEMPTS, || plan_removal(dir.path()), |_| {}).unwrap();
    assert!(naming(dir.path()).unwrap().is_empty());
    let text = fs::read_to_string(dir.path().join("00-multus.conf")).unwrap();
    assert_eq!(text, MULTUS);
}

#[test]
fn the_entry_leaves_a_list_that_is_no_longer_in_effect() {
    let dir = tempfile::tempdir().unwrap();
    let other =
        r#"{"cniVersion":"0.4.0","name":"crio","plugins":[{"type":"bridge","bridge":"cni0"}]}"#;
    fs::write(dir.path().join("05-crio.conflist"), other).unwrap();
    fs::write(dir.path().join("87-podman.conflist"), PODMAN).unwrap();
    let settings = Settings::default();
    assert_eq!(install(dir.path(), &settings).unwrap(), [Written::Changed]);
    fs::write(dir.path().join("10-terway.conflist"), TERWAY).unwrap();
    let written = install(dir.path(), &settings).unwrap();
    assert_eq!(written, [Written::Changed, Written::Changed]);
    let text = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
    assert_eq!(text("05-crio.conflist"), other);
    assert_eq!(text("87-podman.conflist"), PODMAN);
    assert!(text("10-terway.conflist").contains("sockway-cni"));
}

#[test]
fn copies_that_somebody_set_aside_lose_the_entry_and_links_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("10-terway.conflist");
    fs::write(&path, TERWAY).unwrap();
    install(dir.path(), &Settings::default()).unwrap();
    fs::rename(&path, dir.path().join("10-terway.conflist.cilium_bak")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let target = elsewhere.path().join("x");
    fs::write(&target, r#"{"plugins":[{"type":"sockway-cni"}]}"#).unwrap();
    std::os::unix::fs::symlink(&target, dir.path().join("20-x.conflist")).unwrap();
    apply(ATTEMPTS, || plan_removal(dir.path()), |_| {}).unwrap();
    let text = fs::read_to_string(dir.path().join("10-terway.conflist.cilium_bak")).unwrap();
    assert_eq!(text, TERWAY);
    assert_eq!(
        naming(dir.path()).unwrap(),
        [dir.path().join("20-x.conflist")]
    );
}

#[test]
fn the_entry_of_another_sockway_at_work_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let other = dir.path().join("bpf");
    let path = dir.path().join("10-terway.conflist");
    let text = format!(
        r#"{{"cniVersion":"0.4.0","plugins":[{{"type":"terway"}},{{"type":"sockway-cni","bpffs":"{}"}}]}}"#,
        other.display()
    );
    fs::write(&path, &text).unwrap();
    fs::create_dir_all(other.join("v9")).unwrap();
    fs::write(other.join("v9/link_sockway_establish"), "").unwrap();
    let error = install(dir.path(), &Settings::default()).unwrap_err();
    assert!(error.to_string().contains("another Sockway"), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    // Nothing of it is attached any more: whoever comes then takes its place.
    fs::remove_file(other.join("v9/link_sockway_establish")).unwrap();
    assert_eq!(
        install(dir.path(), &Settings::default()).unwrap(),
        [Written::Changed]
    );
}

#[test]
fn bad_files_stay_as_they_are() {
    for (name, text, part) in [
        ("10-terway.conflist", "", "is empty"),
        (
            "10-terway.conflist",
            r#"{"cniVersion":"0.4.0","#,
            "not valid JSON",
        ),
        (
            "10-terway.conf",
            r#"{"cniVersion":"0.3.1","type":"terway"}"#,
            "eni-config",
        ),
        (
            "10-x.conflist",
            r#"{"cniVersion":"9.9.9","plugins":[{"type":"x"}]}"#,
            "9.9.9",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        let error = format!(
            "{:#}",
            install(dir.path(), &Settings::default()).unwrap_err()
        );
        assert!(error.contains(part) && error.contains(name), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert!(plan_removal(dir.path()).unwrap().is_empty());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

#[test]
fn a_writer_that_never_stops_is_given_up_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("10-terway.conflist");
    fs::write(&path, TERWAY).unwrap();
    let settings = Settings::default();
    let error = apply(
        ATTEMPTS,
        || {
            let changes = plan(&cni(dir.path()), &settings, Path::new(ROOT));
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text + "\n").unwrap();
            changes
        },
        |_| {},
    )
    .unwrap_err();
    assert!(error.to_string().contains("at the same time"), "{error}");
}

/// The examples in conf/ are what `sockway install` takes and leaves as it is, and what it would
/// make of them without the entry.
#[test]
fn the_examples_are_right() {
    let conf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf");
    for name in ["10-terway.conflist", "bridge.conflist"] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        let example = fs::read_to_string(conf.join(name)).unwrap();
        fs::write(&path, &example).unwrap();
        assert_eq!(
            install(dir.path(), &Settings::default()).unwrap(),
            [Written::Unchanged]
        );

        apply(ATTEMPTS, || plan_removal(dir.path()), |_| {}).unwrap();
        let without = fs::read_to_string(&path).unwrap();
        assert!(!without.contains("sockway"), "{without}");
        install(dir.path(), &Settings::default()).unwrap();
        let again: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let example: serde_json::Value = serde_json::from_str(&example).unwrap();
        let kinds = |list: &serde_json::Value| {
            let plugins = list["plugins"].as_array().unwrap().iter();
            plugins
                .map(|p| p["type"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(kinds(&again), kinds(&example));
        if name == "bridge.conflist" {
            assert_eq!(again, example);
        }
    }
}
