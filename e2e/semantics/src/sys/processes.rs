//! Processes and signals.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};

use super::{Got, done, errno};

/// A child process; killed and waited for when dropped.
#[derive(Debug)]
pub(crate) struct Forked(Option<Pid>);

impl Forked {
    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Got<()> {
        self.0.map_or(Ok(()), |pid| kill(pid, signal))
    }

    /// Waits for its end; the exit code, or -1 where a signal ended it.
    pub(crate) fn wait(mut self) -> Got<i32> {
        let Some(pid) = self.0.take() else {
            return Ok(-1);
        };
        Ok(match waitpid(pid, None)? {
            WaitStatus::Exited(_, code) => code,
            _ => -1,
        })
    }
}

impl Drop for Forked {
    fn drop(&mut self) {
        if let Some(pid) = self.0.take() {
            // Both fail only where the child is gone already.
            let _gone = kill(pid, Signal::SIGKILL);
            let _gone = waitpid(pid, None);
        }
    }
}

/// `fork(2)`: the child runs `body` and ends with its value as exit code.
///
/// Only for processes without other threads.
pub(crate) fn fork(body: impl FnOnce() -> i32) -> Got<Forked> {
    // SAFETY: the caller's process has one thread, so the child may go on as usual.
    match unsafe { nix::unistd::fork() }? {
        ForkResult::Parent { child } => Ok(Forked(Some(child))),
        ForkResult::Child => {
            let code = body();
            // SAFETY: ends the process at once, without the parent's exit handlers.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Runs a copy of this program, another file to the kernel, that inherits `passed` under its number.
pub(crate) fn exec_copy(arguments: &[&str], passed: &impl AsFd) -> Got<Forked> {
    let copy = memfd_create(c"a copy", MFdFlags::empty())?;
    let mut copy = File::from(copy);
    let mut own = File::open("/proc/self/exe").map_err(|e| errno(&e))?;
    std::io::copy(&mut own, &mut copy).map_err(|e| errno(&e))?;
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    fork(|| {
        if fcntl(passed.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).is_err() {
            return 126;
        }
        let error = Command::new(path).args(arguments).exec();
        eprintln!("a copy of this program: {error}");
        127
    })
}

extern "C" fn nothing(_: libc::c_int) {}

/// Makes a signal interrupt calls; `restart`: with `SA_RESTART`.
pub(crate) fn handle(signal: Signal, restart: bool) -> Got<()> {
    let flags = if restart {
        SaFlags::SA_RESTART
    } else {
        SaFlags::empty()
    };
    let action = SigAction::new(SigHandler::Handler(nothing), flags, SigSet::empty());
    // SAFETY: the handler does nothing at all.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

/// The calling thread's id.
pub(crate) fn thread_id() -> Pid {
    nix::unistd::gettid()
}

/// Sends a signal to one thread of this process.
pub(crate) fn interrupt_thread(thread: Pid, signal: Signal) -> Got<()> {
    let process = nix::unistd::getpid();
    // SAFETY: tgkill takes numbers only.
    let result = unsafe {
        libc::syscall(
            libc::SYS_tgkill,
            process.as_raw(),
            thread.as_raw(),
            signal as i32,
        )
    };
    done(if result < 0 { -1 } else { 0 })
}

/// Lets a socket's signals go to this process (`F_SETOWN`).
pub(crate) fn own(fd: &impl AsFd) -> Got<()> {
    let process = nix::unistd::getpid().as_raw();
    // SAFETY: F_SETOWN takes a number.
    done(unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_SETOWN, process) })
}
