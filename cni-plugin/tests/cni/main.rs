//! The built plugin, called as runtimes call it.
//!
//! What starts with `privileged` works on real maps: see `sockway_testkit::ring`.

mod bad_input;
mod privileged_parallel;
mod privileged_speed;
mod privileged_verbs;
mod support;
mod verbs;
