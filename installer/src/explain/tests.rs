use super::{Application, application, of_application};
use sockway_common::addr::IpKey;
use sockway_common::pair::ReaderKey;
use sockway_common::reader::{CLIENT, ReaderRow, SERVER, seen};

fn key(kind: u32) -> ReaderKey {
    ReaderKey {
        ip: IpKey::from_v4([10, 0, 0, 1]),
        port: 8080,
        kind,
        ..ReaderKey::default()
    }
}

#[test]
fn verdicts() {
    let verdict = |seen, reads| application(&key(SERVER), ReaderRow { seen, reads });
    assert_eq!(verdict(seen::FIT, 8).verdict, "fit");
    assert_eq!(verdict(0, 3).verdict, "watched");
    let unfit = verdict(seen::FIT | seen::BLOCKING | seen::FIONREAD, 8);
    assert_eq!(unfit.verdict, "unfit");
    assert_eq!(unfit.why, ["its sockets block", "it asks FIONREAD"]);
    let finding = of_application(&unfit);
    assert!(
        !finding.good && finding.what.contains("10.0.0.1 port 8080"),
        "{finding:?}"
    );
    let client = application(&key(CLIENT), ReaderRow::default());
    assert!(matches!(client, Application { kind: "client", .. }));
    assert!(of_application(&client).what.contains("connections to"));
}
