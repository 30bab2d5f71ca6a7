//! `sockway-cni`: see the library.

#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;

use sockway_cni::env::Env;

fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|arg| arg == "--version")
    {
        return version();
    }
    let env = Env(&|name| std::env::var_os(name));
    sockway_cni::run(env, io::stdin().lock()).send()
}

fn version() -> ExitCode {
    let line = concat!("sockway-cni ", env!("CARGO_PKG_VERSION"), "\n");
    match io::stdout().write_all(line.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
