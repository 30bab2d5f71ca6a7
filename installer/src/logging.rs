//! Logs to standard error, so that standard output holds results only.

use clap::Args;
use log::LevelFilter;
use simplelog::{ConfigBuilder, WriteLogger};

/// How much is logged.
#[derive(Args, Clone, Copy, Debug)]
pub struct LogArgs {
    /// Log more (twice: everything)
    #[arg(short, long, global = true, display_order = 1000, action = clap::ArgAction::Count)]
    pub verbose: u8,

    /// Log only what failed
    #[arg(
        short,
        long,
        global = true,
        display_order = 1000,
        conflicts_with = "verbose"
    )]
    pub quiet: bool,
}

impl LogArgs {
    /// The least important level that is written; `usual` where nothing was said.
    pub fn level(self, usual: LevelFilter) -> LevelFilter {
        match (self.quiet, self.verbose) {
            (true, _) => LevelFilter::Error,
            (false, 0) => usual,
            (false, 1) => LevelFilter::Debug,
            (false, _) => LevelFilter::Trace,
        }
    }
}

/// Starts logging. A second call in one process (tests) changes nothing.
///
/// `stamped`: with the time, for what runs long.
pub fn start(level: LevelFilter, stamped: bool) {
    let config = ConfigBuilder::new()
        .set_time_format_rfc3339()
        .set_time_level(if stamped {
            LevelFilter::Error
        } else {
            LevelFilter::Off
        })
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .set_thread_level(LevelFilter::Off)
        .build();
    if WriteLogger::init(level, config, std::io::stderr()).is_err() {
        log::debug!("logging was started before");
    }
}
