//! Rules about single files.

use super::Complaint;
use crate::tree::{Tree, ends_with, folder};

const MOST_LINES: usize = 600;
const LARGE: u64 = 1_000_000;

/// Folders and files whose code reads untrusted bytes.
const PARSERS: [&str; 2] = ["crates/graph/src/onnx/mod.rs", "crates/pellucid/src/npy.rs"];

pub(super) fn module_documentation(tree: &Tree) -> Vec<Complaint> {
    tree.sources()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| {
            Complaint::new(format!("{path}:1"), "the file must open with //!, what it is and is not")
        })
        .collect()
}

pub(super) fn file_length(tree: &Tree) -> Vec<Complaint> {
    tree.sources()
        .map(|(path, text)| (path, text.lines().count()))
        .filter(|(_, lines)| *lines > MOST_LINES)
        .map(|(path, lines)| Complaint::new(path, format!("{lines} lines, more than {MOST_LINES}: split it")))
        .collect()
}

/// The position of `word` in `line` where no letter stands before or after it.
fn whole_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !letter(line[..at].chars().next_back()) && !letter(line[at + word.len()..].chars().next())
    })
}

pub(super) fn unfinished(tree: &Tree) -> Vec<Complaint> {
    // Written in parts, so that this file does not complain of itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("to", "do!"),
        concat!("unimple", "mented!"),
        concat!("XX", "X"),
    ];
    let mut found = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| ends_with(path, &["rs", "py", "toml", "sh"])) {
        for (number, line) in text.lines().enumerate() {
            for word in words.iter().filter(|word| whole_word(line, word)) {
                found.push(Complaint::new(
                    format!("{path}:{}", number + 1),
                    format!("{word}: finish it, or file it"),
                ));
            }
        }
    }
    found
}

pub(super) fn machine_paths(tree: &Tree) -> Vec<Complaint> {
    let folders = [
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("/ro", "ot/"),
        concat!("/wo", "rk/"),
        concat!("/tm", "p/"),
        concat!("C:", "\\"),
    ];
    let mut found = Vec::new();
    for (path, text) in tree.texts().filter(|(path, _)| !ends_with(path, &["lock", "svg", "html", "snap"])) {
        for (number, line) in text.lines().enumerate() {
            let absolute = folders.iter().find(|wanted| {
                line.match_indices(*wanted).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    before.is_none_or(|c| c.is_whitespace() || "\"'`(=:<,".contains(c))
                })
            });
            if let Some(absolute) = absolute {
                let problem =
                    format!("{absolute} is a path of one machine: name files from the repository's root");
                found.push(Complaint::new(format!("{path}:{}", number + 1), problem));
            }
        }
    }
    found
}

pub(super) fn large_files(tree: &Tree) -> Vec<Complaint> {
    let mut found = Vec::new();
    for (path, file) in tree.files().filter(|(_, file)| file.size > LARGE) {
        let name = path.rsplit('/').next().unwrap_or(path);
        let mut at = folder(path);
        let mut told = false;
        while !at.is_empty() && !told {
            told = tree.text(&format!("{at}/README.md")).is_some_and(|text| {
                text.lines().any(|line| line.contains(name) && line.len() > name.len() + 20)
            });
            at = folder(at);
        }
        if !told {
            let problem = format!("{} bytes, and no README beside it tells where it comes from", file.size);
            found.push(Complaint::new(path, problem));
        }
    }
    found
}

pub(super) fn parsers(tree: &Tree) -> Vec<Complaint> {
    let mut found = Vec::new();
    for path in PARSERS {
        if tree.text(path).is_none_or(|text| !text.contains("#![deny(clippy::as_conversions)]")) {
            found.push(Complaint::new(path, "a parser of untrusted bytes must deny clippy::as_conversions"));
        }
    }
    let allowed = tree.sources().filter(|(path, _)| path.starts_with("crates/graph/src/onnx/"));
    for (path, text) in
        allowed.filter(|(_, text)| text.contains("clippy::as_conversions") && !text.contains("#![deny("))
    {
        let line = text.lines().position(|line| line.contains("clippy::as_conversions")).unwrap_or(0) + 1;
        found.push(Complaint::new(
            format!("{path}:{line}"),
            "a parser of untrusted bytes must not allow `as`",
        ));
    }
    found
}

/// The part of a source before its tests.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

pub(super) fn rules_by_kind(tree: &Tree) -> Vec<Complaint> {
    let mut found = Vec::new();
    let rules = tree.sources().filter(|(path, _)| path.starts_with("crates/compile/src/rules/"));
    for (path, text) in rules.filter(|(_, text)| without_tests(text).contains(".operator")) {
        let line = text.lines().position(|line| line.contains(".operator")).unwrap_or(0) + 1;
        found.push(Complaint::new(
            format!("{path}:{line}"),
            "a rule matches a Kind, never an operator's name",
        ));
    }
    let operators = tree.sources().filter(|(path, _)| path.starts_with("crates/compile/src/ops/"));
    for (path, text) in operators.filter(|(_, text)| without_tests(text).contains("crate::rules")) {
        let line = text.lines().position(|line| line.contains("crate::rules")).unwrap_or(0) + 1;
        found.push(Complaint::new(format!("{path}:{line}"), "an operator knows no rule"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(complaints: &[Complaint]) -> Vec<&str> {
        complaints.iter().map(|complaint| complaint.place.as_str()).collect()
    }

    #[test]
    fn a_file_without_documentation_is_found() {
        let tree = Tree::of(&[("a.rs", "//! A.\n"), ("b.rs", "use x;\n//! B.\n"), ("c.md", "# C\n")]);
        assert_eq!(places(&module_documentation(&tree)), ["b.rs:1"]);
    }

    #[test]
    fn a_long_file_is_found() {
        let (long, short) = ("//! x\n".repeat(601), "//! x\n".repeat(600));
        let tree = Tree::of(&[("long.rs", &long), ("short.rs", &short), ("long.md", &long)]);
        assert_eq!(places(&file_length(&tree)), ["long.rs"]);
    }

    #[test]
    fn unfinished_code_is_found() {
        let text =
            format!("//! x\nfn f() {{ {}() }}\n// {}: later\n", concat!("to", "do!"), concat!("FIX", "ME"));
        let fine = "//! the method of a todolist; mentioned!\n";
        let tree = Tree::of(&[("a.rs", &text), ("b.rs", fine)]);
        assert_eq!(places(&unfinished(&tree)), ["a.rs:2", "a.rs:3"]);
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        let text = format!("run \"{}me/model.onnx\"\n", concat!("/ho", "me/"));
        let fine = "see https://example.org/home/page and src/tmp/x\n";
        let tree = Tree::of(&[("a.md", &text), ("b.md", fine)]);
        assert_eq!(places(&machine_paths(&tree)), ["a.md:1"]);
    }

    #[test]
    fn a_large_file_of_unknown_origin_is_found() {
        let readme = "| `told.onnx` | made by convert.py from a package |\n`short.onnx`\n";
        let tree = Tree::of(&[("assets/README.md", readme)])
            .with_binary("assets/told.onnx", LARGE + 1)
            .with_binary("assets/deep/told.onnx", LARGE + 1)
            .with_binary("assets/short.onnx", LARGE + 1)
            .with_binary("assets/small.onnx", LARGE)
            .with_binary("alone.onnx", LARGE + 1);
        assert_eq!(places(&large_files(&tree)), ["alone.onnx", "assets/short.onnx"]);
    }

    #[test]
    fn a_parser_that_converts_freely_is_found() {
        let deny = "//! x\n#![deny(clippy::as_conversions)]\n";
        let good = Tree::of(&[(PARSERS[0], deny), (PARSERS[1], deny)]);
        assert!(parsers(&good).is_empty());
        let scan = "crates/graph/src/onnx/scan.rs";
        let allow = "//! x\n#[allow(clippy::as_conversions)]\n";
        let bad = Tree::of(&[(PARSERS[0], "//! x\n"), (PARSERS[1], deny), (scan, allow)]);
        assert_eq!(places(&parsers(&bad)), [PARSERS[0], "crates/graph/src/onnx/scan.rs:2"]);
    }

    #[test]
    fn a_rule_that_names_an_operator_is_found() {
        let rule = "//! x\nfn f(s: &Step) { if s.node.operator == \"Relu\" {} }\n";
        let operator = "//! x\nuse crate::rules::Gradient;\n";
        let tested = "//! x\n#[cfg(test)]\nmod tests { use crate::rules::Gradient; }\n";
        let tree = Tree::of(&[
            ("crates/compile/src/rules/a.rs", rule),
            ("crates/compile/src/ops/b.rs", operator),
            ("crates/compile/src/ops/c.rs", tested),
            ("crates/compile/src/walk.rs", rule),
        ]);
        assert_eq!(
            places(&rules_by_kind(&tree)),
            ["crates/compile/src/rules/a.rs:2", "crates/compile/src/ops/b.rs:2"]
        );
    }
}
