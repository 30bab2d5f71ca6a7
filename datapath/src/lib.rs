//! The only crate that talks to the kernel's BPF side.
