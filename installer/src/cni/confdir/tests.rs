use super::{loadable, targets};
use crate::cni::CniArgs;
use std::fs;
use std::path::Path;

const ISTIO: &str = r#"{"cniVersion":"0.4.0","plugins":[{"type":"terway"},{"type":"istio-cni"}]}"#;
const TERWAY: &str =
    r#"{"cniVersion":"0.4.0","name":"terway-chainer","plugins":[{"type":"terway"}]}"#;
const STORAGE: &str =
    r#"{"cniVersion":"1.0.0","name":"storage-net","plugins":[{"type":"macvlan","master":"eth1"}]}"#;
const PODMAN: &str = r#"{"cniVersion":"0.4.0","name":"podman","plugins":[{"type":"bridge","bridge":"cni-podman0"}]}"#;
const CRIO: &str =
    r#"{"cniVersion":"1.0.0","name":"crio","plugins":[{"type":"bridge","bridge":"cni0"}]}"#;
const COPY: &str = r#"{"cniVersion":"0.4.0","name":"multus-cni-network","type":"multus","delegates":[
    {"name":"terway-chainer","plugins":[{"type":"terway"}]}]}"#;

fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    dir
}

fn cni(dir: &Path, name: Option<&str>) -> CniArgs {
    CniArgs {
        conf_name: name.unwrap_or("auto").to_owned(),
        ..CniArgs::under(dir)
    }
}

fn names(dir: &Path, name: Option<&str>) -> Vec<String> {
    let name_of = |p: &std::path::PathBuf| p.file_name().unwrap().to_string_lossy().into_owned();
    let found = targets(&cni(dir, name)).unwrap();
    found.files.iter().map(name_of).collect()
}

fn of(files: &[(&str, &str)]) -> Vec<String> {
    names(dir(files).path(), None)
}

#[test]
fn the_first_that_a_runtime_loads() {
    let dir = dir(&[
        ("10-terway.conflist", TERWAY),
        (".10-terway.conflist.sockway-tmp", ""),
        ("05-x.conflist.bak", ""),
        ("20-b.conf", "{}"),
        ("30-c.json", "{}"),
    ]);
    fs::create_dir(dir.path().join("00-dir.conf")).unwrap();
    assert_eq!(
        loadable(dir.path()).unwrap(),
        ["10-terway.conflist", "20-b.conf", "30-c.json"]
    );
    assert_eq!(names(dir.path(), None), ["10-terway.conflist"]);
    assert_eq!(names(dir.path(), Some("20-b.conf")), ["20-b.conf"]);
}

#[test]
fn istio_owned_means_both() {
    let files = [
        ("02-istio-cni.conflist", ISTIO),
        ("10-terway.conflist", TERWAY),
    ];
    assert_eq!(of(&files), ["02-istio-cni.conflist", "10-terway.conflist"]);
    assert_eq!(of(&files[..1]), ["02-istio-cni.conflist"]);
}

#[test]
fn a_copy_means_both_and_a_reference_means_what_it_refers_to() {
    let terway = ("10-terway.conflist", TERWAY);
    let copy = ("00-multus.conf", COPY);
    assert_eq!(
        of(&[copy, terway]),
        ["00-multus.conf", "10-terway.conflist"]
    );
    assert_eq!(of(&[copy]), ["00-multus.conf"]);
    assert_eq!(
        names(dir(&[copy, terway]).path(), Some("10-terway.conflist")),
        ["00-multus.conf", "10-terway.conflist"]
    );
    for to in ["/host/etc/cni/net.d/20-other.conflist", "other"] {
        let text =
            format!(r#"{{"cniVersion":"0.4.0","type":"multus-shim","clusterNetwork":"{to}"}}"#);
        let other = TERWAY.replace("terway-chainer", "other");
        let files = [
            ("00-multus.conf", &*text),
            terway,
            ("20-other.conflist", &other),
        ];
        assert_eq!(of(&files), ["20-other.conflist"]);
        assert_eq!(of(&files[..2]), ["10-terway.conflist"]);
    }
}

#[test]
fn lists_that_are_not_the_clusters_are_passed_over() {
    let terway = ("10-terway.conflist", TERWAY);
    for other in [
        ("05-storage.conflist", STORAGE),
        ("05-podman.conflist", PODMAN),
        ("05-crio.conflist", CRIO),
        ("05-loopback.conf", r#"{"type":"loopback"}"#),
    ] {
        assert_eq!(of(&[other, terway]), ["10-terway.conflist"]);
    }
    // Alone it is what pods get.
    assert_eq!(
        of(&[("05-storage.conflist", STORAGE)]),
        ["05-storage.conflist"]
    );
    assert_eq!(of(&[("05-crio.conflist", CRIO)]), ["05-crio.conflist"]);
    // But for what only its own software reads.
    let podman = dir(&[("87-podman.conflist", PODMAN)]);
    let found = targets(&cni(podman.path(), None)).unwrap();
    assert!(found.files.is_empty(), "{found:?}");
    let said = &found.troubles[0];
    assert!(said.contains("87-podman.conflist is podman's"), "{said}");
}

#[test]
fn names_by_which_a_runtime_takes_no_list() {
    let terway = ("10-terway.conflist", TERWAY);
    for first in [
        ("05-a.conf", TERWAY),
        ("05-a.json", TERWAY),
        ("05-a.conflist", ""),
    ] {
        let dir = dir(&[first, terway]);
        let found = targets(&cni(dir.path(), None)).unwrap();
        assert_eq!(found.files, [dir.path().join("10-terway.conflist")]);
        assert!(found.troubles[0].contains("05-a."), "{found:?}");
        assert!(found.troubles[0].contains("containerd loads nothing"));
    }
}

#[test]
fn crio_chooses_by_the_networks_name() {
    let dir = dir(&[
        ("05-a.conflist", &TERWAY.replace("terway-chainer", "a")),
        ("10-terway.conflist", TERWAY),
    ]);
    assert_eq!(names(dir.path(), None), ["05-a.conflist"]);
    fs::create_dir_all(dir.path().join("crio/crio.conf.d")).unwrap();
    let path = dir.path().join("crio/crio.conf.d/10-network.conf");
    let text = |name: &str| format!("[crio.network]\ncni_default_network = \"{name}\"\n");
    fs::write(&path, text("terway-chainer")).unwrap();
    assert_eq!(names(dir.path(), None), ["10-terway.conflist"]);
    fs::write(&path, text("none")).unwrap();
    let error = targets(&cni(dir.path(), None)).unwrap_err().to_string();
    assert!(
        error.contains("\"none\"") && error.contains("CRI-O"),
        "{error}"
    );
}

#[test]
fn what_is_missing_is_named() {
    let empty = dir(&[]);
    let error = |dir: &Path, name| targets(&cni(dir, name)).unwrap_err().to_string();
    assert!(error(empty.path(), None).contains("no CNI config"));
    let text = error(empty.path(), Some("x.conf"));
    assert!(
        text.contains("x.conf") && text.contains("--conf-name"),
        "{text}"
    );
    let text = error(Path::new("/proc/none"), None);
    assert!(text.contains("--cni-conf-dir"), "{text}");
}
