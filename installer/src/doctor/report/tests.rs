//! The verdict, from facts and proof.

use super::{Exit, Finding, Paint, Proof, Report, Verdict};

fn proof(verdict: Verdict) -> Proof {
    Proof {
        steps: vec![Finding::new("order", verdict, "seen").note("at risk")],
        offsets: vec![
            ("sock.sk_cookie".to_owned(), Some(8)),
            ("file.f_flags".to_owned(), None),
        ],
        ..Proof::default()
    }
}

#[test]
fn a_node_that_is_fit() {
    let facts = vec![
        Finding::new("btf", Verdict::Ok, ""),
        Finding::new("options", Verdict::Unknown, "?"),
    ];
    let report = Report::of(facts, Some(proof(Verdict::Ok)));
    assert_eq!((report.verdict, report.exit()), (Verdict::Ok, Exit::Done));
    assert!(report.reasons.is_empty());
    let text = report.text(Paint::plain());
    assert!(
        text.contains("not file.f_flags") && text.contains("everything it has"),
        "{text}"
    );
}

#[test]
fn a_proof_that_fails_is_the_reason() {
    let report = Report::of(vec![], Some(proof(Verdict::Failed)));
    assert_eq!(report.exit(), Exit::Unfit);
    assert_eq!(report.reasons, ["order: seen: at risk"]);
    assert!(
        report
            .text(Paint::plain())
            .contains("cannot run on this node")
    );
    assert_eq!(Report::of(vec![], None).verdict, Verdict::Failed);
}

#[test]
fn what_was_proven_outweighs_a_file() {
    let facts = |name: &str| vec![Finding::new(name, Verdict::Failed, "")];
    let fit = Report::of(facts("options"), Some(proof(Verdict::Ok)));
    assert_eq!(fit.verdict, Verdict::Limited);
    let no_place = Report::of(facts("bpffs"), Some(proof(Verdict::Ok)));
    assert_eq!(no_place.verdict, Verdict::Failed);
}
