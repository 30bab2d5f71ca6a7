//! Names of what a run leaves on the machine: with its process id and that process's start time, so that a later run
//! can tell what a killed one left, by exact name.

use std::fs;

/// A name for this run's things; more may follow behind a `-`.
pub fn name(prefix: &str) -> Option<String> {
    let pid = std::process::id();
    Some(format!("{prefix}{pid}-{}", start_time(pid)?))
}

/// Whether it is the name of a run whose process is gone.
pub fn is_left_behind(prefix: &str, name: &str) -> bool {
    owner(prefix, name).is_some_and(|(pid, start)| start_time(pid) != Some(start))
}

/// Process id and start time out of a name.
fn owner(prefix: &str, name: &str) -> Option<(u32, u64)> {
    let mut ids = name.strip_prefix(prefix)?.split(['-', '.']);
    Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
}

/// Field 22 of `/proc/<pid>/stat`: tells a process from a later one with its id.
/// `None` where it is dead, waited for or not.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{is_left_behind, name, owner, start_time};

    #[test]
    fn this_process_is_alive_and_init_is_older() {
        let this = start_time(std::process::id()).expect("alive");
        assert!(start_time(1).is_some_and(|init| init <= this));
        assert_eq!(start_time(u32::MAX), None);
        assert!(!is_left_behind("p-", &name("p-").expect("alive")));
        assert!(is_left_behind(
            "p-",
            &format!("p-{}-1-0", std::process::id())
        ));
    }

    #[test]
    fn names_tell_their_owner() {
        assert_eq!(owner("swe2e-", "swe2e-12-345-6"), Some((12, 345)));
        assert_eq!(owner("swe2e-", "swe2e-12-345.x"), Some((12, 345)));
        assert_eq!(owner("swe2e-", "swe2e-12"), None);
        assert_eq!(owner("swe2e-", "other-12-345-6"), None);
        assert_eq!(owner("swe2e-", "user.slice"), None);
    }
}
