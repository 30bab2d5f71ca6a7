//! Texts of the kernel, and what is made of them.

use super::{Verdict, capabilities, jit, kernel_version, lockdown, version};

#[test]
fn releases() {
    assert_eq!(version("5.10.134-16.al8.x86_64"), Some((5, 10)));
    assert_eq!(version("6.18"), Some((6, 18)));
    assert_eq!(version("next"), None);
    assert_eq!(kernel_version("4.19.91-al7").verdict, Verdict::Failed);
    assert_eq!(kernel_version("5.10.0").verdict, Verdict::Ok);
}

#[test]
fn lockdowns() {
    let of = |text| lockdown(text).verdict;
    assert_eq!(of("none integrity [confidentiality]\n"), Verdict::Failed);
    assert_eq!(of("[none] integrity confidentiality\n"), Verdict::Ok);
    assert_eq!(of("none [integrity] confidentiality\n"), Verdict::Ok);
    assert_eq!(of(""), Verdict::Ok);
    assert_eq!(jit("0\n").verdict, Verdict::Limited);
}

#[test]
fn rights() {
    let of = |bits: u64| capabilities(&format!("Name:\tx\nCapEff:\t{bits:016x}\n"));
    let (net, admin, perfmon, bpf) = (1 << 12, 1 << 21, 1 << 38, 1 << 39);
    assert_eq!(of(net | admin | perfmon | bpf).verdict, Verdict::Ok);
    assert_eq!(
        of(net | admin).verdict,
        Verdict::Ok,
        "older kernels know the first two only"
    );
    let without = of(net | perfmon | bpf);
    assert_eq!(without.verdict, Verdict::Failed);
    assert!(without.found.contains("CAP_SYS_ADMIN"), "{without:?}");
    assert_eq!(capabilities("").verdict, Verdict::Unknown);
}
