//! What TCP sockets promise an application, each promise looked at on plain TCP and accelerated.
//!
//! The suite plays both ends of every hop. The end under test, which the cases call the
//! application, uses the calls they are about, wherever it stands: also behind Envoy's ports and
//! where Envoy dials from. The other end, which they call Envoy, is a non-blocking socket. A keeper
//! is at work as on a node (`keeper`). What is known of both ends before a case begins is the
//! mode (`variant::Mode`).

mod case;
mod cases;
mod child;
mod cli;
mod end;
mod exceptions;
mod facts;
mod half;
mod judge;
mod keeper;
mod node;
mod pace;
mod place;
mod report;
mod runner;
mod scene;
mod sys;
mod variant;

pub use cli::run;
