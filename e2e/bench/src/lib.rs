//! How fast it is: plain TCP, Sockway and yardsticks in turn, with a report.

mod case;
mod cli;
mod crowd;
mod endpoint;
mod fresh;
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
mod share;
mod sizes;
mod stage;
mod summary;
mod topic;
mod tuple;
mod wire;
mod work;

pub use cli::run;
