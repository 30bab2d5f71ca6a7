//! The command line.

use clap::{Parser, Subcommand};
use log::LevelFilter;

use crate::build::LONG_VERSION;
use crate::commands::{
    doctor, explain, install, off, pods, reconcile, run, status, top, uninstall,
};
use crate::doctor::gate::Refused;
use crate::exit::{self, Exit};
use crate::logging::{self, LogArgs};

/// Makes an Istio sidecar cheaper: joins the sockets of same-node TCP connections in the kernel
#[derive(Parser, Debug)]
#[command(name = "sockway", version = LONG_VERSION, after_help = exit::HELP, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    log: LogArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    Doctor(doctor::DoctorArgs),
    Install(Box<install::InstallArgs>),
    Run(Box<run::RunArgs>),
    Uninstall(uninstall::UninstallArgs),
    Off(off::OffArgs),
    On(off::OnArgs),
    Status(status::StatusArgs),
    Pods(pods::PodsArgs),
    Top(top::TopArgs),
    Explain(explain::ExplainArgs),
    Reconcile(reconcile::ReconcileArgs),
}

impl Cli {
    /// Runs the subcommand and says with which code the process ends.
    pub fn run(&self) -> Exit {
        let stamped = matches!(self.command, Command::Run(_));
        logging::start(self.log.level(LevelFilter::Info), stamped);
        let done = match &self.command {
            Command::Doctor(args) => args.run(),
            Command::Install(args) => args.run(),
            Command::Run(args) => args.run(),
            Command::Uninstall(args) => args.run(),
            Command::Off(args) => args.run(),
            Command::On(args) => args.run(),
            Command::Status(args) => args.run(),
            Command::Pods(args) => args.run(),
            Command::Top(args) => args.run(),
            Command::Explain(args) => args.run(),
            Command::Reconcile(args) => args.run(),
        };
        done.unwrap_or_else(|error| {
            log::error!("{}", exit::chain(&error));
            if error.downcast_ref::<Refused>().is_some() {
                Exit::Unfit
            } else {
                Exit::Failed
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_grammar_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn bad_values_are_refused_by_name() {
        for (option, value) in [
            ("--scope", "some"),
            ("--envoy-outbound-port", "0"),
            ("--envoy-inbound-port", "65536"),
            ("--exclude-namespace", "Kube_System"),
            ("--only-namespace", "Shop_"),
            ("--percent", "101"),
            ("--log-level", "loud"),
            ("--log-file", "relative"),
            ("--strict", "perhaps"),
            ("--conf-name", "a/b"),
            ("--backlog-limit", "1"),
            ("--tcp-every", "32768"),
            ("-o", "xml"),
        ] {
            let error = Cli::try_parse_from(["sockway", "install", option, value]).unwrap_err();
            let text = error.to_string();
            assert!(text.contains(value) && text.contains(option), "{text}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
