//! Real pods, real Envoys, verified traffic: demo, end-to-end tests and the
//! tools they are made of.

pub mod bed;
pub mod carried;
mod cli;
mod demo;
pub mod hops;
mod load;
pub mod median;
pub mod output;
mod pattern;
mod programs;
mod soak;
mod stall;
pub mod stop;
mod suite;
mod switches;
mod traffic;
mod world;

pub use cli::run;
