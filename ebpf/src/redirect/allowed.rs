//! Rule 3 for a direction: whether bytes may be redirected to the other end at all.

use sockway_common::counters::Reason;
use sockway_common::end::EndRow;
use sockway_common::policy;
use sockway_common::program::{has, sign};
use sockway_common::scope;
use sockway_common::state::SockState;

use super::peer;
use crate::establish::lookup_pod;
use crate::kernel::Waits;
use crate::{ends, kernel, known, signals};

/// The other end's row; `None` while it is not known, or gone.
#[inline(always)]
pub(super) fn other_end<'a>(state: &mut SockState) -> Option<&'a EndRow> {
    if state.peer_cookie == 0 {
        let own = ends::get(state.cookie)?;
        // The accepting end writes these two on its own CPU, the cookie last; arm64 may show or load
        // them the other way around. Neither changes again, so with both in hand the order says nothing.
        let name = &raw const own.peer;
        // SAFETY: an aligned word of the row.
        let cookie = unsafe { name.read_volatile() };
        let address = &raw const own.peer_sock;
        // SAFETY: as above.
        let sock = unsafe { address.read_volatile() };
        if cookie == 0 || sock == 0 {
            return None;
        }
        state.peer_sock = sock;
        state.peer_cookie = cookie;
    }
    ends::get(state.peer_cookie)
}

/// Whether the rules allow it now; `state.epoch` is that of this look then. What is allowed
/// stays so until the epoch changes.
///
/// An own function with a number as its result: the verifier would follow each of its many
/// ends through all of the caller's rest. 0: yes; else a [`Reason`] and one.
#[inline(never)]
pub(super) fn look(state: &mut SockState) -> u32 {
    // First: what changes from here on grows the epoch again. arm64 may load what follows before it
    // and keep an old answer under a new epoch; so where much hangs on it (off, leaving), user
    // space grows it once more after every such look has ended (`datapath/src/switch.rs`).
    let epoch = signals::epoch();
    let verdict = check(state);
    state.epoch = epoch;
    match verdict {
        Ok(()) => 0,
        Err(reason) => reason + 1,
    }
}

#[inline(always)]
fn check(state: &mut SockState) -> Result<(), u32> {
    if signals::is_off() {
        return Err(Reason::Off as u32);
    }
    let Some(other) = other_end(state) else {
        return Err(Reason::NoPeer as u32);
    };
    if other.joined == 0 {
        return Err(other.why);
    }
    if other.leaves != 0 || other.open == 0 {
        return Err(Reason::Closed as u32);
    }
    if is_off(other) || ends::get(state.cookie).is_none_or(is_off) {
        return Err(Reason::Off as u32);
    }
    let known = known::of(&other.program);
    policy::be_redirected_to(state.scope, known).map_err(|reason| reason as u32)?;
    // What is known of a program that waits level-triggered says nothing of a socket that does not.
    if state.scope != scope::ALL
        && !has(known, sign::EDGE)
        && matches!(kernel::waits(peer(state)), Waits::Edge)
    {
        return Err(Reason::Observed as u32);
    }
    Ok(())
}

/// Whether an end's pod was switched off.
#[inline(always)]
fn is_off(end: &EndRow) -> bool {
    lookup_pod(end.pod).is_some_and(|pod| pod.scope == scope::OFF)
}
