//! Everything that must hold, in the order in which it fails fastest.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::tree::{self, Tree};
use crate::{docs, tidy};

/// A cargo command with what it needs in its environment.
struct Step {
    name: &'static str,
    arguments: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
}

const FORMAT: Step = Step { name: "format", arguments: &["fmt", "--all", "--check"], environment: &[] };

const LINTS: Step = Step {
    name: "lints",
    arguments: &["clippy", "--workspace", "--all-targets", "--locked", "--quiet", "--", "-D", "warnings"],
    environment: &[],
};

/// The README's own command.
const TESTS: Step =
    Step { name: "tests", arguments: &["test", "--workspace", "--locked", "--quiet"], environment: &[] };

const DOCUMENTATION: Step = Step {
    name: "documentation",
    arguments: &["doc", "--workspace", "--no-deps", "--locked", "--quiet"],
    environment: &[("RUSTDOCFLAGS", "-D warnings")],
};

/// Advisories are left out: their database is fetched over the network, and a check must not depend on the day.
const DEPENDENCIES: Step = Step {
    name: "dependencies",
    arguments: &["deny", "--all-features", "--locked", "check", "bans", "licenses", "sources"],
    environment: &[],
};

/// Checks everything; on CI the tests have been run already and cargo-deny must be installed.
pub(crate) fn run(ci: bool) -> Result<(), String> {
    let root = tree::root();
    let mut failed = Vec::new();
    let mut note = |name: &'static str, result: Result<(), String>, start: Instant| {
        let seconds = start.elapsed().as_secs_f32();
        match result {
            Ok(()) => println!("ok      {name} ({seconds:.0} s)"),
            Err(message) => {
                println!("FAILED  {name} ({seconds:.0} s)\n{message}");
                failed.push(name);
            }
        }
    };
    let start = Instant::now();
    note("tidy", Tree::read(&root).and_then(|tree| tidy::run(&tree)), start);
    let start = Instant::now();
    note("generated documents", docs::check(&root), start);
    let mut steps = vec![FORMAT, LINTS, DOCUMENTATION];
    if !ci {
        steps.push(TESTS);
    }
    if ci || installed(&root, "deny") {
        steps.push(DEPENDENCIES);
    } else {
        println!("skipped dependencies: cargo-deny is not installed; CI runs it");
    }
    for step in steps {
        let start = Instant::now();
        note(step.name, cargo(&root, &step), start);
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", "))) }
}

fn cargo(root: &Path, step: &Step) -> Result<(), String> {
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root).args(step.arguments).envs(step.environment.iter().copied());
    let status = command.status().map_err(|error| format!("cargo {}: {error}", step.arguments.join(" ")))?;
    if status.success() { Ok(()) } else { Err(format!("cargo {} fails", step.arguments.join(" "))) }
}

fn installed(root: &Path, subcommand: &str) -> bool {
    let output = Command::new(env!("CARGO")).current_dir(root).args([subcommand, "--version"]).output();
    output.is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_is_told() {
        let root = tree::root();
        let step = Step { name: "none", arguments: &["no-such-command"], environment: &[] };
        assert_eq!(cargo(&root, &step).unwrap_err(), "cargo no-such-command fails");
        assert!(!installed(&root, "no-such-command"));
        let step = Step { name: "version", arguments: &["--version"], environment: &[] };
        assert_eq!(cargo(&root, &step), Ok(()));
    }
}
