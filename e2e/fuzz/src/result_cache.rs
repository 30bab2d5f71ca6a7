//! libcni's result cache, from which pods older than the install are registered.

use sockway_installer::reconcile::cache::Cached;

/// `data` is a file of the cache.
///
/// # Panics
/// Where reading it does.
pub fn check(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else {
        return;
    };
    let Ok(cached) = Cached::parse(text) else {
        return;
    };
    let _ = (cached.owner(), cached.args(), cached.title());
    let _ = cached.capability("io.kubernetes.cri.pod-annotations");
    if let Ok(addresses) = cached.addresses() {
        assert!(addresses.len() <= text.len());
    }
}
