use super::{Keys, NetConf, read};
use crate::constants::MAX_STDIN;
use crate::error::Error;

fn conf(text: &str) -> Result<NetConf<'_>, Error> {
    let keys = Keys::parse(text.as_bytes())?;
    let version = keys.version()?;
    NetConf::new(keys, version)
}

#[test]
fn what_cni_demands() {
    let table = [
        ("", 6, "the network configuration: EOF"),
        ("nope", 6, "the network configuration"),
        ("[]", 6, "the network configuration: invalid type: sequence"),
        ("null", 6, "the network configuration: invalid type: null"),
        ("{\"name\":\"n\"}x", 6, "trailing characters"),
        ("{\"cniVersion\":1}", 6, "cniVersion: invalid type"),
        ("{\"name\":\"n\"}", 1, "\"0.1.0\" is not spoken"),
        ("{\"cniVersion\":\"0.2.0\",\"name\":\"n\"}", 1, "0.2.0"),
        (
            "{\"cniVersion\":\"2.0.0\",\"name\":\"n\"}",
            1,
            "supported: 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0",
        ),
        ("{\"cniVersion\":\"1.0\",\"name\":\"n\"}", 1, "1.0"),
        ("{\"cniVersion\":\"1.0.0\"}", 7, "name is missing"),
        (
            "{\"cniVersion\":\"1.0.0\",\"name\":\"\"}",
            7,
            "name is missing",
        ),
        ("{\"cniVersion\":\"1.0.0\",\"name\":\"a/b\"}", 7, "\"a/b\""),
        (
            "{\"cniVersion\":\"1.0.0\",\"name\":[]}",
            6,
            "name: invalid type",
        ),
    ];
    for (text, code, part) in table {
        let error = conf(text).unwrap_err();
        assert_eq!(error.code(), code, "{text}: {}", error.details());
        assert!(
            error.details().contains(part),
            "{text}: {}",
            error.details()
        );
    }
}

#[test]
fn every_version_is_spoken() {
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let text = format!("{{\"cniVersion\":\"{version}\",\"name\":\"n\"}}");
        let conf = conf(&text).unwrap();
        assert_eq!(
            conf.needs("0.4.0", "CHECK").is_ok(),
            !version.starts_with("0.3")
        );
        assert_eq!(conf.needs("1.1.0", "GC").is_ok(), version == "1.1.0");
        assert!(conf.sound_section().is_ok());
    }
}

#[test]
fn the_section_is_what_is_not_cni() {
    let text = r#"{"cniVersion":"1.0.0","name":"n","type":"sockway-cni","args":{},"ipam":{},
        "capabilities":{},"runtimeConfig":{},"prevResult":{},"cni.dev/attachments":[],
        "strict":true,"scoop":"all"}"#;
    let conf = conf(text).unwrap();
    assert!(conf.section.strict);
    let error = conf.sound_section().unwrap_err();
    assert_eq!(error.code(), 7);
    assert!(
        error.details().contains("unknown key \"scoop\""),
        "{}",
        error.details()
    );
}

#[test]
fn prev_result_is_an_object_or_missing() {
    let head = "\"cniVersion\":\"1.0.0\",\"name\":\"n\"";
    let table = [
        (String::new(), "no prevResult"),
        (",\"prevResult\":null".to_owned(), "no prevResult"),
        (",\"prevResult\":\"x\"".to_owned(), "not an object"),
        (",\"prevResult\":[{}]".to_owned(), "not an object"),
    ];
    for (tail, part) in table {
        let text = format!("{{{head}{tail}}}");
        let error = conf(&text).unwrap().prev_result().unwrap_err();
        assert_eq!(error.code(), 7);
        assert!(error.details().contains(part), "{}", error.details());
    }
    let text = format!("{{{head},\"prevResult\": {{ \"a\" :1 }} }}");
    assert_eq!(
        conf(&text).unwrap().prev_result().unwrap().get(),
        "{ \"a\" :1 }"
    );
}

#[test]
fn an_empty_list_of_gc_is_not_an_absent_one() {
    let valid = |tail: &str| {
        let text = format!("{{\"cniVersion\":\"1.1.0\",\"name\":\"n\"{tail}}}");
        let valid = conf(&text).unwrap().valid_attachments();
        valid
            .map(|list| list.map(|list| list.len()))
            .map_err(|error| error.code())
    };
    assert_eq!(valid(""), Ok(None));
    assert_eq!(valid(",\"cni.dev/valid-attachments\":null"), Ok(Some(0)));
    assert_eq!(valid(",\"cni.dev/valid-attachments\":[]"), Ok(Some(0)));
    let one = ",\"cni.dev/valid-attachments\":[{\"containerID\":\"a\",\"ifname\":\"e\"}]";
    assert_eq!(valid(one), Ok(Some(1)));
    // The older spelling, alone and beside the other: what either lists is kept.
    let older = ",\"cni.dev/attachments\":[{\"containerID\":\"b\",\"ifname\":\"e\"}]";
    assert_eq!(valid(older), Ok(Some(1)));
    assert_eq!(valid(&format!("{one}{older}")), Ok(Some(2)));
    assert_eq!(
        valid(&format!(",\"cni.dev/valid-attachments\":null{older}")),
        Ok(Some(1))
    );
    let wrong = ",\"cni.dev/valid-attachments\":[{\"containerID\":1}]";
    assert_eq!(valid(wrong), Err(6));
}

#[test]
fn stdin_has_a_bound() {
    let bound = usize::try_from(MAX_STDIN).unwrap();
    assert_eq!(read(vec![b' '; bound].as_slice()).unwrap().len(), bound);
    assert!(matches!(read(std::io::repeat(b' ')), Err(Error::TooLarge)));
}
