//! How fast it is: plain TCP, Sockway and yardsticks in turn, with a report.

mod cli;
mod endpoint;
mod guard;
mod hop;
mod jobs;
mod mode;
mod net;
mod progress;
mod report;
mod results;
mod rounds;
mod scene;
mod sizes;
mod tuple;
mod work;

pub use cli::run;
