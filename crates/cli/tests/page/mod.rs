//! Pages of `docs/` whose blocks are what the command prints: every block is run again, in the order of the page.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// How a block of a page begins that shows a command and what it prints.
const BLOCK: &str = "console\n$ ";

/// A file of the repository's `docs/`.
pub(crate) fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

/// Runs the blocks of `docs/NAME` in `folder`, each of which must succeed, and gives the page with what they print.
/// There must be `fewest` blocks.
pub(crate) fn run(name: &str, folder: &Path, fewest: usize) -> String {
    let mut made = String::new();
    let mut blocks = 0;
    for (number, part) in fs::read_to_string(docs(name)).unwrap().split("```").enumerate() {
        if number > 0 {
            made += "```";
        }
        match part.strip_prefix(BLOCK) {
            Some(block) => {
                let command = block.lines().next().unwrap();
                write!(made, "{BLOCK}{command}\n{}\n", printed(command, folder)).unwrap();
                blocks += 1;
            }
            None => made += part,
        }
    }
    assert!(blocks >= fewest, "{blocks} blocks");
    made
}

/// `docs/NAME` is what was `made` of it; `PELLUCID_BLESS=1` writes it anew.
pub(crate) fn holds(name: &str, made: &str) {
    let page = docs(name);
    if std::env::var_os("PELLUCID_BLESS").is_some() {
        fs::write(&page, made).unwrap();
        return;
    }
    let text = fs::read_to_string(&page).unwrap();
    for (found, expected) in text.lines().zip(made.lines()) {
        assert_eq!(found, expected, "docs/{name}; PELLUCID_BLESS=1 writes it anew");
    }
    assert_eq!(made.lines().count(), text.lines().count(), "docs/{name} has too few lines");
}

/// What a line prints; how long it took differs each time and is left out.
fn printed(line: &str, folder: &Path) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_pellucid"))
        .args(line.split_whitespace().skip(1))
        .current_dir(folder)
        .env_remove("COLORTERM")
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let timeless = |line: &str| match line.split_once(" after ") {
        Some((what, _)) if line.starts_with("wrote ") => what.to_owned(),
        _ => line.to_owned(),
    };
    let lines: Vec<String> = text.trim_end().lines().map(timeless).collect();
    lines.join("\n")
}
