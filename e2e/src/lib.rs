//! Real pods, real Envoys, verified traffic: demo, end-to-end tests and the
//! tools they are made of.

mod cli;
mod output;
mod pattern;
mod stop;
mod traffic;

pub use cli::run;
