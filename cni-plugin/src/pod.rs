//! What is known of the pod: its name, and how far it takes part.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use sockway_common::part::Part;
use sockway_common::scope;
use sockway_datapath::section::{ANNOTATIONS_CAPABILITY, Section};

use crate::constants::SCOPE_ANNOTATION;
use crate::error::Error;
use crate::rollout;

/// A pod as Kubernetes names it; empty where the runtime does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid, which it keeps for its life.
    pub uid: String,
}

impl Pod {
    /// Reads `CNI_ARGS` (`K8S_POD_NAMESPACE=a;K8S_POD_NAME=b`, in any order).
    ///
    /// A pod's name is good to know and no more: what cannot be read is left out.
    #[must_use]
    pub fn from_args(args: &str) -> Self {
        let mut pod = Self::default();
        for (key, value) in args.split(';').filter_map(|pair| pair.split_once('=')) {
            let place = match key {
                "K8S_POD_NAMESPACE" => &mut pod.namespace,
                "K8S_POD_NAME" => &mut pod.name,
                "K8S_POD_UID" => &mut pod.uid,
                _ => continue,
            };
            if dns_name(value) {
                value.clone_into(place);
            }
        }
        pod
    }
}

/// How far the pod takes part.
///
/// What the settings leave out is final, so that a tenant cannot undo it ([`rollout`]). Then
/// the pod's own word counts, stricter or looser: it knows its application.
/// Then the section's.
///
/// # Errors
/// [`Error::Annotation`] where the pod's word is none; nothing is guessed.
pub fn part_of(
    pod: &Pod,
    container_id: &str,
    section: &Section,
    runtime_config: Option<&RawValue>,
) -> Result<Part, Error> {
    // A sandbox that is made anew gets another id, and the pod keeps its uid: so it is in or out for
    // its life. Runtimes that do not hand the uid over leave the sandbox's id, which does till a restart.
    let id = if pod.uid.is_empty() {
        container_id
    } else {
        &pod.uid
    };
    if let Some(why) = rollout::left_out(&pod.namespace, id, section) {
        return Ok(Part::without(why));
    }
    let Some(word) = runtime_config.and_then(annotation) else {
        return Ok(Part::of(section.scope));
    };
    let scope = scope::parse(&word);
    scope.map(Part::of).ok_or_else(|| Error::Annotation {
        name: SCOPE_ANNOTATION,
        value: word[..word.floor_char_boundary(64)].to_owned(),
        allowed: scope::WORDS,
    })
}

/// The pod's annotation, where the runtime hands annotations over.
fn annotation(runtime_config: &RawValue) -> Option<String> {
    let annotations = member(runtime_config, ANNOTATIONS_CAPABILITY)?;
    let word = member(annotations, SCOPE_ANNOTATION)?;
    serde_json::from_str(word.get()).ok()
}

/// A member of an object; `None` where there is no such member or no object.
fn member<'a>(object: &'a RawValue, key: &str) -> Option<&'a RawValue> {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(object.get()).ok()?;
    members.get(key).copied()
}

/// A DNS name as Kubernetes uses it for namespaces and pods.
fn dns_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    (1..=253).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;
    use sockway_common::scope;
    use sockway_datapath::section::Section;

    use super::{Pod, part_of};
    use crate::rollout::is_among;

    fn pod(namespace: &str, name: &str) -> Pod {
        Pod {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: String::new(),
        }
    }

    #[test]
    fn names_come_in_any_order_and_junk_is_left_out() {
        let table = [
            ("", pod("", "")),
            (
                "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0",
                pod("ns", "web-0"),
            ),
            (
                "K8S_POD_NAME=web.a;K8S_POD_UID=x;K8S_POD_NAMESPACE=ns",
                Pod {
                    uid: "x".to_owned(),
                    ..pod("ns", "web.a")
                },
            ),
            (";;=;K8S_POD_NAME", pod("", "")),
            ("K8S_POD_NAME=a=b;K8S_POD_NAMESPACE=a b", pod("", "")),
            ("K8S_POD_NAME=a\nb;K8S_POD_NAMESPACE=\u{1b}[0m", pod("", "")),
            ("k8s_pod_name=a", pod("", "")),
        ];
        for (args, expected) in table {
            assert_eq!(Pod::from_args(args), expected, "{args:?}");
        }
        assert_eq!(
            Pod::from_args(&format!("K8S_POD_NAME={}", "a".repeat(254))),
            pod("", "")
        );
    }

    #[test]
    fn exclusion_then_annotation_then_section() {
        let section = Section {
            scope: scope::PROXY,
            exclude_namespaces: vec!["kube-system".to_owned()],
            ..Section::default()
        };
        let says = |word: &str| {
            format!(
                r#"{{"portMappings":[],"io.kubernetes.cri.pod-annotations":{{"a":"b","sockway.io/scope":{word}}}}}"#
            )
        };
        let scope_in = |namespace: &str, runtime_config: Option<&str>| {
            let raw = runtime_config.map(|text| serde_json::from_str::<&RawValue>(text).unwrap());
            let part = part_of(&pod(namespace, "p"), "c1", &section, raw);
            part.map(|part| part.scope).map_err(|e| e.details())
        };
        assert_eq!(scope_in("a", None), Ok(scope::PROXY));
        assert_eq!(scope_in("a", Some(&says("\"all\""))), Ok(scope::ALL));
        assert_eq!(scope_in("a", Some(&says("\"off\""))), Ok(scope::OFF));
        assert_eq!(
            scope_in("kube-system", Some(&says("\"all\""))),
            Ok(scope::OFF)
        );
        for other in [
            &says("null"),
            "{}",
            "[]",
            r#"{"io.kubernetes.cri.pod-annotations":[1]}"#,
        ] {
            assert_eq!(scope_in("a", Some(other)), Ok(scope::PROXY), "{other}");
        }
        let error = scope_in("a", Some(&says("\"offf\""))).unwrap_err();
        assert!(
            error.contains("sockway.io/scope: \"offf\" is not allowed"),
            "{error}"
        );
    }
    /// A sandbox is made anew, the pod stays.
    #[test]
    fn the_uid_is_drawn_and_the_sandboxs_id_where_there_is_none() {
        let section = Section {
            percent: 50,
            ..Section::default()
        };
        let is_in = |uid: &str, container_id: &str| {
            let pod = Pod {
                uid: uid.to_owned(),
                ..pod("ns", "p")
            };
            let part = part_of(&pod, container_id, &section, None);
            part.map_err(|e| e.details()).unwrap().left_out.is_none()
        };
        for id in ["c1", "c2", "c3", "c4", "c5", "c6"] {
            assert_eq!(is_in("", id), is_among(id, 50), "{id}");
            assert_eq!(is_in("u1", id), is_among("u1", 50), "{id}");
        }
    }
}
