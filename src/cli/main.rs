//! The command line `krundl`: translates and renders, decides nothing.

mod args;
mod control;
mod doctor;
mod inspect;
mod kernel;
mod network;
mod plan;
mod run;
mod signals;

use clap::Parser;

fn main() {
    let args::Cli { command } = args::Cli::parse();
    let status = match command {
        args::Command::Doctor(args) => doctor::doctor(&args),
        args::Command::Inspect(args) => inspect::inspect(&args),
        args::Command::Kernel { command } => kernel::kernel(&command),
        args::Command::Plan(args) => plan::plan(&args),
        args::Command::Exec(args) => control::exec(*args),
        args::Command::Figures(args) => control::figures(&args),
        args::Command::Ps(args) => control::ps(&args),
        args::Command::Run(args) => run::run(*args),
        args::Command::Stop(args) => control::stop(&args),
    };
    std::process::exit(status);
}

/// Prints to standard output; a reader that has gone away is no error of ours.
fn print(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}
