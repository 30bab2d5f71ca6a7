//! Real pods, real Envoys, verified traffic: demo, end-to-end tests and the
//! tools they are made of.

mod bed;
mod cli;
mod demo;
mod load;
mod output;
mod pattern;
mod stop;
mod traffic;

pub use cli::run;
