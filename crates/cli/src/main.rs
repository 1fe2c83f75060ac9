//! The `pellucid` command: arguments in, the library's calls, text and files out. No algorithm lives here.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command prints")]

mod arguments;
mod commands;
mod console;

use std::process::ExitCode;

use clap::Parser;
use pellucid::Error;

use arguments::{Arguments, Command};

/// The engine makes and drops many large arrays: this allocator takes a third of the system's time for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.command {
        Command::Demo(demo) => commands::demo::run(demo),
        Command::Explain(explain) => commands::explain::run(explain),
        Command::Compare(compare) => commands::compare::run(compare),
        Command::Compile(compile) => commands::compile::run(compile),
        Command::Predict(predict) => commands::predict::run(predict),
        Command::Coverage(coverage) => commands::coverage::run(coverage),
        Command::Methods(methods) => commands::methods::run(methods),
        Command::New(new) => commands::new::run(new),
        Command::Package(package) => commands::package::run(package),
        Command::Evaluate(evaluate) => commands::evaluate::run(evaluate),
        Command::Train(train) => commands::train::run(train),
        Command::Inspect(inspect) => commands::inspect::run(inspect),
        Command::Summary(summary) => commands::summary::run(summary),
        Command::Show(show) => commands::show::run(show),
        Command::Trace(trace) => commands::trace::run(trace),
        Command::Verify(verify) => commands::verify::run(verify),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            match error {
                Error::Cancelled | Error::Stopped => ExitCode::from(130),
                error if error.is_user_error() => ExitCode::from(2),
                _ => ExitCode::from(1),
            }
        }
    }
}
