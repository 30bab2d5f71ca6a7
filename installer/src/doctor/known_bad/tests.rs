//! The table, and which kernels it is for.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use proptest::prelude::*;

use super::{FAULTS, Kernel, Verdict, Version, finding};

fn kernel(release: &str, build: &str) -> Option<(Version, bool)> {
    Kernel::of(release, build).map(|kernel| (kernel.version, kernel.upstream))
}

#[test]
fn releases() {
    let debian = "#1 SMP PREEMPT_DYNAMIC Debian 6.1.158-1 (2025-11-09)";
    for (release, build, wanted) in [
        ("6.18.44", "#1 SMP", Some((Version(6, 18, 44), true))),
        ("6.19.0", "#1 SMP", Some((Version(6, 19, 0), true))),
        ("6.19.0-rc3", "#1 SMP", Some((Version(6, 19, 0), true))),
        ("7.2", "", Some((Version(7, 2, 0), true))),
        (
            "5.10.134-16.al8.x86_64",
            "",
            Some((Version(5, 10, 134), false)),
        ),
        ("6.6.93+", "#1 SMP", Some((Version(6, 6, 93), false))),
        (
            "6.1.0-56-cloud-amd64",
            debian,
            Some((Version(6, 1, 158), true)),
        ),
        ("5.15.0-91-generic", "#101-Ubuntu SMP", None),
        ("5.14.0-503.el9.x86_64", "#1 SMP", None),
        ("next", "", None),
        ("6", "", None),
        ("6.x", "", None),
        ("99999999999.1.1", "", None),
    ] {
        assert_eq!(kernel(release, build), wanted, "{release}");
    }
    let unknown = finding("5.15.0-91-generic", "#101-Ubuntu SMP", None);
    assert_eq!(unknown.verdict, Verdict::Unknown);
}

#[test]
fn ranges_are_in_order_and_apart() {
    for fault in &FAULTS {
        let ends: Vec<Version> = fault.ranges.iter().flat_map(|r| [r.0, r.1]).collect();
        assert!(
            ends.windows(2).all(|pair| pair[0] < pair[1]),
            "{}",
            fault.what
        );
        assert!(ends[0] >= Version(5, 10, 0), "{}", fault.what);
        assert!(fault.fix.len() == 12 && fault.fix.chars().all(|c| c.is_ascii_hexdigit()));
        assert!(fault.verdict >= Verdict::Limited);
        assert!(!fault.what.is_empty() && !fault.remedy.is_empty());
    }
}

#[test]
fn at_the_borders() {
    for fault in &FAULTS {
        for &(from, before) in fault.ranges {
            assert_eq!(fault.fixed_in(from), Some(before));
            assert_eq!(fault.fixed_in(before), None);
            if let Version(major, minor, patch @ 1..) = before {
                assert_eq!(
                    fault.fixed_in(Version(major, minor, patch - 1)),
                    Some(before)
                );
            }
            if let Version(major, minor, patch @ 1..) = from {
                assert_eq!(fault.fixed_in(Version(major, minor, patch - 1)), None);
            }
        }
    }
    let of = |release| finding(release, "#1 SMP", None);
    assert_eq!(of("6.12.74").verdict, Verdict::Ok);
    assert_eq!(of("6.12.75").verdict, Verdict::Limited);
    assert_eq!(of("6.16.12").verdict, Verdict::Ok);
    assert!(
        of("6.18.14")
            .found
            .contains("04af4efde58a, in 7.2.13 at the latest")
    );
    let old = of("6.1.19");
    assert_eq!(old.verdict, Verdict::Failed);
    assert!(old.found.contains("d900f3d20cc3, in 6.1.20"), "{old:?}");
    assert_eq!(of("6.1.95").verdict, Verdict::Ok);
}

#[test]
fn what_is_measured_counts() {
    let of = |release, right| finding(release, "#1 SMP", right);
    assert_eq!(of("6.18.14", Some(true)).verdict, Verdict::Ok);
    let wrong = of("6.18.13", Some(false));
    assert_eq!(wrong.verdict, Verdict::Limited);
    assert!(wrong.found.contains("measured"), "{wrong:?}");
    assert_eq!(of("6.18.44-fc", Some(false)).verdict, Verdict::Limited);
    // Of another maker's kernel only that is known.
    let maker = of("5.10.134-16.al8.x86_64", Some(true));
    assert_eq!(maker.verdict, Verdict::Unknown);
    assert!(maker.note.contains("maker"), "{maker:?}");
    assert_eq!(of("6.12.74-1.amzn2023", None).verdict, Verdict::Ok);
}

proptest! {
    #[test]
    fn any_release_is_answered(release in ".{0,40}", build in ".{0,40}", right: Option<bool>) {
        let _any = finding(&release, &build, right);
        let _any = finding("6.1.0-1", &format!("Debian {build}"), right);
    }

    #[test]
    fn a_version_is_read_as_it_is_shown(
        major in 0_u32..100, minor in 0_u32..100, patch in 0_u32..1000,
        suffix in "(-[a-z]{1,5})?",
    ) {
        let version = Version(major, minor, patch);
        let text = format!("{version}{suffix}");
        if let Some((read, upstream)) = kernel(&text, "") {
            prop_assert_eq!(read, version);
            prop_assert_eq!(upstream, suffix.is_empty() || suffix.starts_with("-rc"));
        } else {
            prop_assert!(patch == 0 && !suffix.is_empty());
        }
    }
}

/// The table of docs/kernels.md.
fn table() -> String {
    let mut rows =
        String::from("| fault | upstream's releases | mended by | verdict | what to do |\n");
    rows.push_str("|---|---|---|---|---|\n");
    for fault in &FAULTS {
        let ranges = fault.ranges.iter();
        let ranges: Vec<String> = ranges
            .map(|(from, before)| format!("{from} to before {before}"))
            .collect();
        let how = if fault.measured {
            ", measured by the proof"
        } else {
            ""
        };
        let verdict = fault.verdict.word().to_lowercase();
        writeln!(
            rows,
            "| {} | {} | {} | {verdict}{how} | {} |",
            fault.what,
            ranges.join(", "),
            fault.fix,
            fault.remedy
        )
        .unwrap();
    }
    rows
}

/// docs/kernels.md has the table of this very code; `SOCKWAY_WRITE=1` writes it there.
#[test]
fn the_document_has_every_fault() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = root.join("docs/kernels.md");
    let text = fs::read_to_string(&path).unwrap();
    let start = text.find("| fault |").expect("a table");
    let end = start + text[start..].find("\n\n").expect("its end") + 1;
    let made = table();
    if std::env::var("SOCKWAY_WRITE").as_deref() == Ok("1") {
        fs::write(&path, format!("{}{made}{}", &text[..start], &text[end..])).unwrap();
        return;
    }
    assert_eq!(&text[start..end], made, "SOCKWAY_WRITE=1 writes it anew");
}
