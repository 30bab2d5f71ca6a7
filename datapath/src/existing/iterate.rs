//! Running an iterator program over the sockets of network namespaces.

use std::fs::File;
use std::io::Read as _;
use std::thread;

use aya::Pod;
use aya::programs::Iter;
use aya::programs::iter::IterLink;
use nix::sched::{CloneFlags, setns};

use crate::Error;
use crate::attach::refused;

/// Runs the program once in each namespace; what it told, with the namespace's index.
///
/// An iterator sees the sockets of the namespace in which it was opened.
///
/// # Errors
///
/// [`Error::Program`] where the kernel refuses, [`Error::Io`] where a namespace cannot be entered.
pub(super) fn run<T: Pod + Send>(
    program: &mut Iter,
    name: &'static str,
    namespaces: &[File],
) -> Result<Vec<(usize, T)>, Error> {
    let mut links = Vec::new();
    for namespace in namespaces {
        let id = program.attach().map_err(refused(name, "attach"))?;
        links.push((
            namespace,
            program.take_link(id).map_err(refused(name, "attach"))?,
        ));
    }
    // A thread of its own: it ends in another namespace than it began in.
    let inside = move || {
        let mut told = Vec::new();
        for (index, (namespace, link)) in links.into_iter().enumerate() {
            let bytes = read(namespace, link)?;
            told.extend(records(&bytes).map(|record| (index, record)));
        }
        Ok(told)
    };
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("sockets".to_owned())
            .spawn_scoped(scope, inside)
            .map_err(|e| Error::io("start a thread for", "network namespaces", e))?;
        thread
            .join()
            .unwrap_or_else(|_| Err(Error::existing("looking at sockets failed")))
    })
}

fn read(namespace: &File, link: IterLink) -> Result<Vec<u8>, Error> {
    let failed = |op| move |e| Error::io(op, "the sockets of a network namespace", e);
    setns(namespace, CloneFlags::CLONE_NEWNET)
        .map_err(|e| Error::io("enter", "a network namespace", e.into()))?;
    let mut file = link
        .into_file()
        .map_err(|e| failed("open an iterator over")(std::io::Error::other(e)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed("read"))?;
    Ok(bytes)
}

fn records<T: Pod>(bytes: &[u8]) -> impl Iterator<Item = T> {
    bytes.chunks_exact(size_of::<T>()).map(|chunk| {
        // SAFETY: the chunk has the type's size, any bit pattern is valid for a
        // `Pod`, and the read needs no alignment.
        unsafe { chunk.as_ptr().cast::<T>().read_unaligned() }
    })
}
