//! Where log lines go: standard error, and a file of bounded size. Never
//! standard output, and never does a log fail a verb.

mod file;

use std::io::{self, LineWriter};
use std::path::Path;

use log::LevelFilter;
use simplelog::{CombinedLogger, Config, ConfigBuilder, SharedLogger, WriteLogger};
use sockway_datapath::section::Section;

/// Longer than any line: a line is one write, so lines of plugins that run at
/// the same time do not mix.
const LINE: usize = 8 << 10;

/// Logs to standard error only: for calls whose configuration cannot be read.
pub fn to_stderr() {
    install(vec![stderr(LevelFilter::Info)]);
}

/// Logs as the section says.
pub fn from_section(section: &Section) {
    let level = section.log_level;
    let mut loggers = vec![stderr(level)];
    let mut trouble = None;
    if level != LevelFilter::Off && !section.log_file.is_empty() {
        match file::open(Path::new(&section.log_file)) {
            Ok(file) => {
                let file = LineWriter::with_capacity(LINE, file);
                loggers.push(WriteLogger::new(level, config(), file));
            }
            Err(error) => trouble = Some(error),
        }
    }
    install(loggers);
    if let Some(error) = trouble {
        log::warn!("log file {:?} cannot be used: {error}", section.log_file);
    }
}

fn install(loggers: Vec<Box<dyn SharedLogger>>) {
    // The first logger stays where there is one: tests run many calls in one process.
    if CombinedLogger::init(loggers).is_err() {
        log::debug!("a logger is there already");
    }
}

fn stderr(level: LevelFilter) -> Box<dyn SharedLogger> {
    WriteLogger::new(
        level,
        config(),
        LineWriter::with_capacity(LINE, io::stderr()),
    )
}

fn config() -> Config {
    ConfigBuilder::new()
        .set_time_format_rfc3339()
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .build()
}
