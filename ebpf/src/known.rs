//! What is known of programs (map `programs`): rows that only grow.

use aya_ebpf::bindings::BPF_NOEXIST;
use sockway_common::counters::Reason;
use sockway_common::end::event;
use sockway_common::policy::{self, End, fionread};
use sockway_common::program::{
    self, FIT_READS, ProgramKey, ProgramRow, has, is_proven, is_unfit, sign,
};

use crate::counter::bump;
use crate::maps::PROGRAMS;
use crate::{events, kernel, signals};

/// A row that nothing is known in.
static NOTHING: ProgramRow = ProgramRow::NOTHING;

/// What is known of a program.
#[inline(always)]
pub(crate) fn of<'a>(key: &ProgramKey) -> &'a ProgramRow {
    match PROGRAMS.get_ptr(key) {
        // SAFETY: a row stays readable until the program ends (RCU). One that is evicted meanwhile
        // may become another program's: see `Known::open`.
        Some(row) => unsafe { &*row },
        None => &NOTHING,
    }
}

/// Whether an end of a program may be in the sockhash ([`policy::come_in`]).
#[inline(always)]
pub(crate) fn come_in(
    program: &ProgramKey,
    known: &ProgramRow,
    (scope, hop): (u32, u32),
    end: End,
) -> Result<(), Reason> {
    match policy::by_program(scope, hop, end, known, kernel::fionread()) {
        Ok(()) => Ok(()),
        Err(refusal) if refusal.unless_such && is_of_such(program, known) => Ok(()),
        Err(refusal) => Err(refusal.reason),
    }
}

/// Whether what is known of the executable of an end speaks for it.
#[inline(always)]
fn is_of_such(key: &ProgramKey, known: &ProgramRow) -> bool {
    key.is_of_client() && program::is_of_such(known, of_whole(key))
}

/// What is known of the executable of an end. An own function for its stack, of which 5.10 allows
/// 512 bytes to all callers together.
#[inline(never)]
fn of_whole<'a>(key: &ProgramKey) -> &'a ProgramRow {
    let whole = key.whole((key.id, key.device));
    match PROGRAMS.get_ptr(whole) {
        // SAFETY: as in `of`.
        Some(row) => unsafe { &*row },
        None => &NOTHING,
    }
}

/// Why a program's ends stay out whatever else is read ([`policy::settled`]), or [`u32::MAX`].
#[inline(never)]
pub(crate) fn settled(program: &ProgramKey, scope: u32, hop: u32) -> u32 {
    policy::settled(scope, hop, of(program), kernel::fionread())
}

/// Adds what is known of a program to what is known of its executable, where that matters.
#[inline(never)]
pub(crate) fn share(whole: &ProgramKey, program: &ProgramRow) {
    if whole.id == 0 || kernel::fionread() == fionread::RIGHT {
        return;
    }
    let Some(known) = Known::open(whole) else {
        return;
    };
    for sign in 0..=sign::SHORT {
        if has(program, sign) {
            known.set(sign);
        }
    }
    if program.reads >= FIT_READS {
        // SAFETY: a field of the map value; only its address is taken.
        let reads = unsafe { &raw mut (*known.row).reads };
        // Whoever writes it writes the same.
        // SAFETY: an aligned word of the map value, which lives until the program ends (RCU).
        unsafe { reads.write_volatile(FIT_READS) };
    }
    known.close();
}

/// A program's row, to be added to.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    row: *mut ProgramRow,
    proven: bool,
    unfit: bool,
}

impl Known {
    /// The row, made where there is none.
    ///
    /// A full map forgets the oldest program, which is then learnt anew. Memory of a row that is
    /// evicted while this holds it may become another program's, which then gets a read counted
    /// that was not its own: one of eight, on top of a race of less than a microsecond.
    #[inline(always)]
    pub(crate) fn open(key: &ProgramKey) -> Option<Self> {
        let row = if let Some(row) = PROGRAMS.get_ptr_mut(key) {
            row
        } else {
            // Another CPU may have made it meanwhile: its signs stay.
            let _there = PROGRAMS.insert(key, NOTHING, u64::from(BPF_NOEXIST));
            PROGRAMS.get_ptr_mut(key)?
        };
        // SAFETY: as in `of`.
        let known = unsafe { &*row };
        Some(Self {
            row,
            proven: is_proven(known),
            unfit: is_unfit(known),
        })
    }

    /// As it is now.
    #[inline(always)]
    pub(crate) fn now<'a>(self) -> &'a ProgramRow {
        // SAFETY: as in `of`.
        unsafe { &*self.row }
    }

    /// Notes signs, one bit for each of [`sign`].
    #[inline(always)]
    pub(crate) fn note(self, signs: u32) {
        for sign in 0..=sign::ZEROCOPY {
            if signs >> sign & 1 != 0 {
                self.set(sign);
            }
        }
    }

    /// Notes one sign: a byte of its own, so that no other CPU's is lost.
    #[inline(always)]
    pub(crate) fn set(self, sign: usize) {
        // SAFETY: a field of the map value; only its address is taken.
        let signs = unsafe { &raw mut (*self.row).signs };
        // SAFETY: `sign` is below `sign::COUNT`, so the byte is one of the array's.
        let byte = unsafe { signs.cast::<u8>().add(sign) };
        // SAFETY: a byte of the map value, which lives until the program ends (RCU).
        if unsafe { byte.read_volatile() } == 0 {
            // SAFETY: as above.
            unsafe { byte.write_volatile(1) };
        }
    }

    /// Counts a read.
    #[inline(always)]
    pub(crate) fn count_read(self, recv_like: bool) {
        let row = self.row;
        let count = if recv_like {
            // SAFETY: a field of the map value; only its address is taken.
            unsafe { &raw mut (*row).reads }
        } else {
            // SAFETY: as above.
            unsafe { &raw mut (*row).others }
        };
        bump(count, 1);
    }

    /// Counts a read that stopped short.
    #[inline(always)]
    pub(crate) fn count_short(self) {
        // SAFETY: as above.
        bump(unsafe { &raw mut (*self.row).shorts }, 1);
    }

    /// Counts one that went on to the end.
    #[inline(always)]
    pub(crate) fn count_end(self) {
        // SAFETY: as above.
        bump(unsafe { &raw mut (*self.row).ends }, 1);
    }

    /// Whether this executable is not the one that was seen first.
    #[inline(always)]
    pub(crate) fn is_other(self, executable: u64) -> bool {
        // SAFETY: as above.
        let first = unsafe { &raw mut (*self.row).executable };
        // SAFETY: an aligned word of the map value.
        let seen = unsafe { first.read_volatile() };
        if seen == 0 {
            // Where two race, the later look of one of them differs from what stays.
            // SAFETY: as above.
            unsafe { first.write_volatile(executable) };
            return false;
        }
        executable != 0 && executable != seen
    }

    /// Has directions and ends looked at anew where the program turned out proven, or unfit; true if so.
    #[inline(always)]
    pub(crate) fn close(self) -> bool {
        let now = self.now();
        let turned = is_proven(now) != self.proven || is_unfit(now) != self.unfit;
        if turned {
            signals::next_epoch();
            events::tell(event::PASS, 0);
        }
        turned
    }
}

/// Notes one sign of a program.
#[inline(always)]
pub(crate) fn note(key: &ProgramKey, sign: usize) {
    if let Some(known) = Known::open(key) {
        known.set(sign);
        known.close();
    }
}
