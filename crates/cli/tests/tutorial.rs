//! `docs/tutorial.md` shows what the command prints: every block is run again, in the order of the page.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What a line prints; how long it took differs each time and is left out.
fn printed(line: &str, folder: &Path) -> String {
    let arguments: Vec<&str> = line.split_whitespace().skip(1).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_pellucid"))
        .args(arguments)
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

/// `PELLUCID_BLESS=1` writes the blocks anew.
#[test]
#[ignore = "trains for a minute, and needs the data set; last digits are those of one kind of processor"]
fn the_tutorial_shows_what_the_command_prints() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let folder = tempfile::tempdir().unwrap();
    for file in ["boot.png", "labels.txt", "tune.toml"] {
        fs::copy(docs.join("tutorial").join(file), folder.path().join(file)).unwrap();
    }
    let page = docs.join("tutorial.md");
    let text = fs::read_to_string(&page).unwrap();
    let mut made = String::new();
    let mut blocks = 0;
    for (number, part) in text.split("```").enumerate() {
        if number > 0 {
            made += "```";
        }
        match part.strip_prefix("console\n$ ") {
            Some(block) => {
                let command = block.lines().next().unwrap();
                write!(made, "console\n$ {command}\n{}\n", printed(command, folder.path())).unwrap();
                blocks += 1;
            }
            None => made += part,
        }
    }
    assert!(blocks >= 10, "{blocks} blocks");
    if std::env::var_os("PELLUCID_BLESS").is_some() {
        fs::write(&page, &made).unwrap();
        return;
    }
    for (found, expected) in text.lines().zip(made.lines()) {
        assert_eq!(found, expected, "docs/tutorial.md; PELLUCID_BLESS=1 writes it anew");
    }
    assert_eq!(made.lines().count(), text.lines().count(), "docs/tutorial.md has too few lines");
}
