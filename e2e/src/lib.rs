//! Real pods, real Envoys, verified traffic: demo, end-to-end tests and the
//! tools they are made of.

mod bed;
mod cli;
mod demo;
mod hops;
mod load;
mod output;
mod pattern;
mod soak;
mod stop;
mod suite;
mod traffic;
mod world;

pub use cli::run;
