//! Rules about documents: what they name exists, and what they show is what is compiled and run.

use super::Complaint;
use crate::tree::{Tree, ends_with, folder};

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const README: &str = "README.md";
const EXAMPLE: &str = "crates/pellucid/examples/explain.rs";
const CI: &str = ".ci/run";

/// The README's two commands: what it does, and how it is checked.
const COMMANDS: [&str; 2] = ["cargo run --release -- demo", "cargo test --workspace"];
/// Lines of the README within which both must stand.
const OPENING: usize = 12;

fn documents(tree: &Tree) -> impl Iterator<Item = (&str, &str)> {
    tree.texts().filter(|(path, _)| ends_with(path, &["md"]))
}

/// What stands between backquotes on a line.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

/// `path::test` in backquotes, as a file and a function of it.
fn test_name(text: &str) -> Option<(&str, &str)> {
    let (path, name) = text.split_once("::")?;
    let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    (ends_with(path, &["rs", "py"]) && path.contains('/') && plain).then_some((path, name))
}

pub(super) fn named_tests(tree: &Tree) -> Vec<Complaint> {
    let mut found = Vec::new();
    for (document, text) in documents(tree) {
        for (number, line) in text.lines().enumerate() {
            for (path, name) in quoted(line).filter_map(test_name) {
                let place = format!("{document}:{}", number + 1);
                match tree.text(path) {
                    None => found.push(Complaint::new(place, format!("{path} does not exist"))),
                    Some(source) if !defines(source, name) => {
                        found.push(Complaint::new(place, format!("{path} has no function {name}")));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    found
}

fn defines(source: &str, name: &str) -> bool {
    ["fn ", "def "].iter().any(|keyword| source.contains(&format!("{keyword}{name}(")))
}

/// The text under a heading, up to the next of the same or a higher level.
fn section<'a>(text: &'a str, heading: &str) -> Option<&'a str> {
    let start = text.find(&format!("{heading}\n"))? + heading.len();
    let end = text[start..].find("\n## ").map_or(text.len(), |at| start + at);
    Some(&text[start..end])
}

/// The number that a line of a numbered list starts with.
fn numbered(line: &str) -> Option<usize> {
    line.split_once(". ").and_then(|(number, _)| number.parse().ok())
}

pub(super) fn invariants(tree: &Tree) -> Vec<Complaint> {
    let Some(section) = tree.text(ARCHITECTURE).and_then(|text| section(text, "## Invariants")) else {
        return vec![Complaint::new(ARCHITECTURE, "a section `## Invariants` is missing")];
    };
    let mut tests: Vec<(usize, usize)> = Vec::new();
    for line in section.lines() {
        if let Some(number) = numbered(line) {
            tests.push((number, 0));
        }
        if let Some((_, count)) = tests.last_mut() {
            *count += quoted(line).filter_map(test_name).count();
        }
    }
    if tests.is_empty() {
        return vec![Complaint::new(ARCHITECTURE, "`## Invariants` holds no numbered list")];
    }
    tests
        .iter()
        .filter(|(_, count)| *count == 0)
        .map(|(number, _)| {
            Complaint::new(ARCHITECTURE, format!("invariant {number} names no test that guards it"))
        })
        .collect()
}

pub(super) fn readme_example(tree: &Tree) -> Vec<Complaint> {
    let (Some(readme), Some(example)) = (tree.text(README), tree.text(EXAMPLE)) else {
        return vec![Complaint::new(README, format!("README.md and {EXAMPLE} must both exist"))];
    };
    if readme.contains(&format!("```rust\n{example}```")) {
        return Vec::new();
    }
    vec![Complaint::new(README, format!("its program differs from {EXAMPLE}, which is compiled: copy that"))]
}

pub(super) fn readme_commands(tree: &Tree) -> Vec<Complaint> {
    let mut found = Vec::new();
    let opening: Vec<&str> = tree.text(README).unwrap_or_default().lines().take(OPENING).collect();
    let ci = tree.text(CI).unwrap_or_default();
    for command in COMMANDS {
        if !opening.iter().any(|line| line.starts_with(command)) {
            found
                .push(Complaint::new(README, format!("`{command}` must stand in its first {OPENING} lines")));
        }
        if !ci.lines().any(|line| line.contains(command)) {
            found.push(Complaint::new(CI, format!("`{command}`, the README's command, is not run")));
        }
    }
    found
}

pub(super) fn links(tree: &Tree) -> Vec<Complaint> {
    let mut found = Vec::new();
    for (document, text) in documents(tree) {
        for (number, line) in text.lines().enumerate() {
            for target in line.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let path = target.split('#').next().unwrap_or_default();
                if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                    continue;
                }
                let whole = match folder(document) {
                    "" => path.to_owned(),
                    folder => format!("{folder}/{path}"),
                };
                let whole = plain(&whole);
                if !tree.exists(whole.trim_end_matches('/')) {
                    let place = format!("{document}:{}", number + 1);
                    found.push(Complaint::new(place, format!("the link to {target} leads nowhere")));
                }
            }
        }
    }
    found
}

/// A path without `.` and `..`.
fn plain(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(complaints: Vec<Complaint>) -> Vec<String> {
        complaints.into_iter().map(|complaint| complaint.problem).collect()
    }

    #[test]
    fn a_test_that_does_not_exist_is_found() {
        let source = "//! x\n#[test]\nfn holds() {}\n";
        let good = "`a/b.rs::holds` and `graph::Graph::new` and `a/b.py::check`\n";
        let python = "def check(x):\n";
        let tree = Tree::of(&[("a/b.rs", source), ("a/b.py", python), ("x.md", good)]);
        assert_eq!(problems(named_tests(&tree)), Vec::<String>::new());
        let bad = "`a/b.rs::hold`\n`a/c.rs::holds`\n";
        assert_eq!(
            problems(named_tests(&Tree::of(&[("a/b.rs", source), ("x.md", bad)]))),
            ["a/b.rs has no function hold", "a/c.rs does not exist"]
        );
    }

    #[test]
    fn an_invariant_without_a_test_is_found() {
        let check = |text: &str| problems(invariants(&Tree::of(&[(ARCHITECTURE, text)])));
        let good = "# A\n\n## Invariants\n\n1. One\n   guarded by `a/b.rs::one`\n2. Two, `a/b.rs::two`\n\n## Next\n1. x\n";
        assert_eq!(check(good), Vec::<String>::new());
        assert_eq!(
            check("## Invariants\n1. One `a/b.rs::one`\n2. Two\n"),
            ["invariant 2 names no test that guards it"]
        );
        assert_eq!(check("# A\n"), ["a section `## Invariants` is missing"]);
        assert_eq!(check("## Invariants\nnone\n"), ["`## Invariants` holds no numbered list"]);
    }

    #[test]
    fn a_program_that_differs_is_found() {
        let example = "//! x\nfn main() {}\n";
        let good = format!("# P\n\n```rust\n{example}```\n");
        assert!(readme_example(&Tree::of(&[(README, &good), (EXAMPLE, example)])).is_empty());
        let bad = good.replace("main", "mein");
        assert_eq!(readme_example(&Tree::of(&[(README, &bad), (EXAMPLE, example)])).len(), 1);
        assert_eq!(readme_example(&Tree::of(&[(README, &good)])).len(), 1);
    }

    #[test]
    fn a_command_that_is_missing_is_found() {
        let readme = format!("# P\n\n```\n{}\n{}   # tests\n```\n", COMMANDS[0], COMMANDS[1]);
        let ci = format!("{}\n{} --locked\n", COMMANDS[0], COMMANDS[1]);
        assert!(readme_commands(&Tree::of(&[(README, &readme), (CI, &ci)])).is_empty());
        let late = format!("{}{readme}", "\n".repeat(OPENING));
        assert_eq!(readme_commands(&Tree::of(&[(README, &late), (CI, &ci)])).len(), 2);
        assert_eq!(readme_commands(&Tree::of(&[(README, &readme), (CI, COMMANDS[0])])).len(), 1);
    }

    #[test]
    fn a_link_to_nowhere_is_found() {
        let text = "[a](b.md), [c](../d/e.md#f), [g](https://example.org/x), [h](#i)\n[j](k.md)\n";
        let tree = Tree::of(&[("x/a.md", text), ("x/b.md", ""), ("d/e.md", "")]);
        let found = links(&tree);
        assert_eq!(found, [Complaint::new("x/a.md:2", "the link to k.md leads nowhere")]);
    }
}
