//! How fast it is: plain TCP, Sockway and yardsticks in turn, with a report.

mod case;
mod cli;
mod crowd;
mod endpoint;
mod full;
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
