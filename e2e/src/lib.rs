//! Real pods, real Envoys, verified traffic: demo and end-to-end tests.

mod cli;
mod demo;
mod programs;
mod soak;
mod suite;
mod switches;
mod world;

pub use cli::run;
