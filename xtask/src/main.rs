//! Tasks of this repository: `cargo xtask check`, `cargo xtask docs`, `cargo xtask tidy`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command prints")]

mod check;
mod docs;
mod tidy;
mod tree;

use std::process::ExitCode;

use tree::Tree;

const USAGE: &str = "\
cargo xtask check          everything that must hold: format, lints, tests, documentation, dependencies, tidiness
cargo xtask check --ci     the same without the tests, for a run that has done them; cargo-deny must be there
cargo xtask docs           writes the documents that are generated from the registries
cargo xtask docs --check   says which of them are stale
cargo xtask tidy           the rules of this repository that no compiler knows; --list names them";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["check"] => check::run(false),
        ["check", "--ci"] => check::run(true),
        ["docs"] => docs::write(&tree::root()),
        ["docs", "--check"] => docs::check(&tree::root()),
        ["tidy"] => Tree::read(&tree::root()).and_then(|tree| tidy::run(&tree)),
        ["tidy", "--list"] => {
            tidy::list();
            Ok(())
        }
        _ => Err(USAGE.to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}
