//! Waiting for something to happen: a change in a watched directory, or the signal to end.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use signal_hook::consts::{SIGINT, SIGTERM};

/// What ended a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Files changed.
    Changed,
    /// Nothing happened in the time given.
    Nothing,
    /// The process is to end.
    Stop,
}

/// Directories under watch, and the signals that end the process.
#[derive(Debug)]
pub struct Watch {
    /// `None` where the node has no instance left: what changes is then seen by the second.
    inotify: Option<Inotify>,
    watched: HashMap<PathBuf, WatchDescriptor>,
    stop: UnixStream,
}

impl Watch {
    /// Watches nothing yet; SIGTERM and SIGINT are noted from now on.
    ///
    /// # Errors
    ///
    /// Where a signal cannot be caught.
    pub fn new() -> Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK);
        if let Err(e) = &inotify {
            log::warn!(
                "cannot watch directories: {e} (fs.inotify.max_user_instances reached?); they are looked at \
                 once a second instead"
            );
        }
        let (stop, writer) = UnixStream::pair().context("cannot make a socket pair")?;
        stop.set_nonblocking(true)
            .context("cannot use the socket pair")?;
        for signal in [SIGTERM, SIGINT] {
            let writer = writer.try_clone().context("cannot copy a descriptor")?;
            signal_hook::low_level::pipe::register(signal, writer)
                .with_context(|| format!("cannot catch signal {signal}"))?;
        }
        Ok(Self {
            inotify: inotify.ok(),
            watched: HashMap::new(),
            stop,
        })
    }

    /// Adds a directory, or renews its watch: after it was removed and made
    /// again the old one tells nothing.
    ///
    /// # Errors
    ///
    /// Where it is not there or may not be watched.
    pub fn directory(&mut self, path: &Path) -> Result<()> {
        let Some(inotify) = &self.inotify else {
            return Ok(());
        };
        let flags = AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_ONLYDIR;
        let watch = inotify
            .add_watch(path, flags)
            .with_context(|| format!("cannot watch {}", path.display()))?;
        if let Some(before) = self.watched.insert(path.to_owned(), watch)
            && before != watch
            && !self.watched.values().any(|other| *other == before)
        {
            // Of a directory that was renamed or mounted over, and is there for others. Where it was
            // removed the kernel has dropped the watch already.
            let _ = inotify.rm_watch(before);
        }
        Ok(())
    }

    /// Whether changes are told of at once.
    pub fn is_whole(&self) -> bool {
        self.inotify.is_some()
    }

    /// Waits at most `limit`.
    ///
    /// # Errors
    ///
    /// Where the kernel refuses to wait.
    pub fn wait(&mut self, limit: Duration) -> Result<Woken> {
        // Rounded up: a wait that ends a little early would be followed by useless ones.
        let limit = limit + Duration::from_millis(1);
        let timeout = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        let stop = PollFd::new(self.stop.as_fd(), PollFlags::POLLIN);
        let inotify = self.inotify.as_ref();
        let inotify = inotify.map(|inotify| PollFd::new(inotify.as_fd(), PollFlags::POLLIN));
        let mut fds: Vec<PollFd<'_>> = inotify.into_iter().chain([stop]).collect();
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e).context("cannot wait for changes"),
        }
        if self.stopped()? {
            return Ok(Woken::Stop);
        }
        Ok(if self.changed()? {
            Woken::Changed
        } else {
            Woken::Nothing
        })
    }

    fn stopped(&mut self) -> Result<bool> {
        match self.stop.read(&mut [0]) {
            Ok(_) => Ok(true),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(e) => Err(e).context("cannot read from the signal's socket"),
        }
    }

    fn changed(&self) -> Result<bool> {
        let Some(inotify) = &self.inotify else {
            return Ok(false);
        };
        let mut any = false;
        loop {
            match inotify.read_events() {
                Ok(events) => any |= !events.is_empty(),
                Err(Errno::EAGAIN) => return Ok(any),
                Err(Errno::EINTR) => {}
                Err(e) => return Err(e).context("cannot read changes"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Watch, Woken};
    use std::fs;
    use std::os::fd::{AsFd as _, AsRawFd as _};
    use std::time::Duration;

    #[test]
    fn changes_wake() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = Watch::new().unwrap();
        watch.directory(dir.path()).unwrap();
        let short = Duration::from_millis(5);
        assert_eq!(watch.wait(short).unwrap(), Woken::Nothing);
        fs::write(dir.path().join("a"), "x").unwrap();
        assert_eq!(watch.wait(Duration::from_secs(5)).unwrap(), Woken::Changed);
        assert_eq!(watch.wait(short).unwrap(), Woken::Nothing);
        fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
        assert_eq!(watch.wait(Duration::from_secs(5)).unwrap(), Woken::Changed);
        fs::remove_file(dir.path().join("b")).unwrap();
        assert_eq!(watch.wait(Duration::from_secs(5)).unwrap(), Woken::Changed);
        assert!(watch.directory(&dir.path().join("none")).is_err());
    }

    /// A directory that is replaced again and again leaves one watch.
    #[test]
    fn watches_of_directories_that_were_replaced_go() {
        let dir = tempfile::tempdir().unwrap();
        let (at, aside) = (dir.path().join("a"), dir.path().join("aside"));
        let mut watch = Watch::new().unwrap();
        for n in 0..20 {
            fs::create_dir(&at).unwrap();
            watch.directory(&at).unwrap();
            fs::rename(&at, aside.with_extension(n.to_string())).unwrap();
        }
        let fd = watch.inotify.as_ref().unwrap().as_fd().as_raw_fd();
        let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).unwrap();
        assert_eq!(text.matches("inotify wd:").count(), 1, "{text}");
    }

    #[test]
    fn without_an_instance_the_signals_are_still_heard() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = Watch::new().unwrap();
        watch.inotify = None;
        assert!(!watch.is_whole());
        watch.directory(dir.path()).unwrap();
        let short = Duration::from_millis(5);
        assert_eq!(watch.wait(short).unwrap(), Woken::Nothing);
    }
}
