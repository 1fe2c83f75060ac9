//! Races `pellucid` against Captum on PyTorch, in one run and interleaved, and writes `bench/RESULTS.md`.
//!
//! Both sides are processes that take the same commands, one JSON object a line: `worker.rs` here, `rival.py` there.
//! This program drives them; it computes no attribution and names no engine but through Pellucid's options.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command prints")]

mod agreement;
mod cases;
mod contestant;
mod equal_error;
mod error;
mod machine;
mod process;
mod race;
mod report;
mod statistics;
mod worker;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use error::Error;

/// The allocator of the command `pellucid`, so that its workers take the time that the command takes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
#[command(about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Race, and write the table
    Race(Box<Race>),
    /// Compute what is asked for on standard input, one JSON command a line
    #[command(hide = true)]
    Worker(Worker),
}

/// What is raced, and for how long.
#[derive(Debug, Clone, Args)]
struct Race {
    /// Python with the packages of bench/requirements.txt
    #[arg(long, default_value = "python3")]
    python: PathBuf,
    /// The command `pellucid`; without it the one beside this program
    #[arg(long)]
    pellucid: Option<PathBuf>,
    /// Folder of the networks and inputs that prepare.py writes; made where it is missing
    #[arg(long, default_value = "target/race")]
    folder: PathBuf,
    /// Folder of this crate, where the Python side is
    #[arg(long, default_value = "bench")]
    bench: PathBuf,
    /// Engines, by their names
    #[arg(long, value_delimiter = ',', default_values_t = worker::engines())]
    engines: Vec<String>,
    /// Networks
    #[arg(long, value_delimiter = ',', default_values_t = cases::networks())]
    networks: Vec<String>,
    /// Methods; all of them without it
    #[arg(long, value_delimiter = ',')]
    methods: Vec<String>,
    /// Batches
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8])]
    batches: Vec<usize>,
    /// Batches of methods of many evaluations, which take most of the time
    #[arg(long, value_delimiter = ',', default_values_t = [1, 8])]
    long_batches: Vec<usize>,
    /// Threads of either side
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Seconds that the race may take, as far as the fewest rounds allow
    #[arg(long, default_value_t = 840.0)]
    seconds: f64,
    /// Few rounds: to try whether everything works
    #[arg(long)]
    quick: bool,
    /// Table to write; - prints it
    #[arg(short, long, default_value = "bench/RESULTS.md")]
    output: PathBuf,
}

#[derive(Debug, Args)]
struct Worker {
    /// Folder that prepare.py wrote
    folder: PathBuf,
    /// Engine
    engine: String,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Race(race) => race::race(&race),
        Command::Worker(worker) => worker::run(&worker.folder, &worker.engine),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if matches!(error, Error::Disagreement(_)) { 1 } else { 2 })
        }
    }
}
