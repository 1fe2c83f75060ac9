//! `docs/inside.md` shows what the command prints: every block is run again.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

fn printed(line: &str, folder: &Path) -> String {
    let arguments: Vec<&str> = line.split_whitespace().skip(1).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_pellucid"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("COLORTERM")
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// `PELLUCID_BLESS=1` writes the blocks anew.
#[test]
fn the_tutorial_shows_what_the_command_prints() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let page = root.join("docs/inside.md");
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
                write!(made, "console\n$ {command}\n{}\n", printed(command, &root.join("goldens"))).unwrap();
                blocks += 1;
            }
            None => made += part,
        }
    }
    assert!(blocks >= 6, "{blocks} blocks");
    if std::env::var_os("PELLUCID_BLESS").is_some() {
        fs::write(&page, &made).unwrap();
        return;
    }
    for (found, expected) in text.lines().zip(made.lines()) {
        assert_eq!(found, expected, "docs/inside.md; PELLUCID_BLESS=1 writes it anew");
    }
    assert_eq!(made.lines().count(), text.lines().count(), "docs/inside.md has too few lines");
}
