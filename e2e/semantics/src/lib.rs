//! What TCP sockets promise an application, each promise looked at on plain TCP and accelerated.
//!
//! The suite plays Envoy: the Envoy end of every connection is a non-blocking socket that comes
//! from 127.0.0.6 (or `::6`) or listens on 127.0.0.1:15001. The application's end uses the calls
//! under test. Scope `auto` first watches an address on plain TCP, so every accelerated run makes
//! connections of the same kind first.

mod case;
mod cases;
mod child;
mod cli;
mod end;
mod exceptions;
mod facts;
mod judge;
mod node;
mod pace;
mod payload;
mod place;
mod report;
mod runner;
mod scene;
mod sys;
mod variant;

pub use cli::run;
