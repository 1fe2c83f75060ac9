//! Rules of this repository that no compiler knows.
//!
//! A rule looks at the files and complains. Each has a test on files that break it: a rule that cannot complain checks
//! nothing.

mod crates;
mod documents;
mod files;

use crate::tree::Tree;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Complaint {
    /// File, with a line where there is one.
    place: String,
    /// What was found and what to do.
    problem: String,
}

impl Complaint {
    fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }
}

/// A rule.
struct Rule {
    name: &'static str,
    summary: &'static str,
    check: fn(&Tree) -> Vec<Complaint>,
}

const RULES: &[Rule] = &[
    Rule {
        name: "module-documentation",
        summary: "every Rust file opens with //!",
        check: files::module_documentation,
    },
    Rule { name: "file-length", summary: "no Rust file is longer than 600 lines", check: files::file_length },
    Rule { name: "unfinished", summary: "nothing is left to do in code", check: files::unfinished },
    Rule {
        name: "machine-paths",
        summary: "no file names a path of one machine",
        check: files::machine_paths,
    },
    Rule {
        name: "large-files",
        summary: "a README beside it, or above it, tells where a file above 1 MB comes from",
        check: files::large_files,
    },
    Rule { name: "parsers", summary: "parsers of untrusted bytes deny `as`", check: files::parsers },
    Rule {
        name: "rules-by-kind",
        summary: "rules name no operator, and operators no rule",
        check: files::rules_by_kind,
    },
    Rule { name: "crate-names", summary: "a crate's name says what it is for", check: crates::names },
    Rule {
        name: "crate-order",
        summary: "dependencies between our crates point one way",
        check: crates::order,
    },
    Rule { name: "engines", summary: "engines are dependencies of runtime only", check: crates::engines },
    Rule {
        name: "front-ends",
        summary: "cli, server and python use the library and hold no algorithm",
        check: crates::front_ends,
    },
    Rule { name: "named-tests", summary: "tests that a document names exist", check: documents::named_tests },
    Rule { name: "invariants", summary: "every invariant names its test", check: documents::invariants },
    Rule {
        name: "readme-example",
        summary: "the README's program is the example that is compiled",
        check: documents::readme_example,
    },
    Rule {
        name: "readme-commands",
        summary: "the README opens with its two commands, and CI runs them",
        check: documents::readme_commands,
    },
    Rule { name: "links", summary: "links between documents lead somewhere", check: documents::links },
];

/// Names the rules.
pub(crate) fn list() {
    for rule in RULES {
        println!("{:<22} {}", rule.name, rule.summary);
    }
}

/// Every complaint of every rule.
pub(crate) fn run(tree: &Tree) -> Result<(), String> {
    let complaints: Vec<String> = RULES
        .iter()
        .flat_map(|rule| {
            (rule.check)(tree)
                .into_iter()
                .map(|found| format!("{}: {} [{}]", found.place, found.problem, rule.name))
        })
        .collect();
    if complaints.is_empty() { Ok(()) } else { Err(complaints.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_names_of_their_own() {
        let mut names: Vec<&str> = RULES.iter().map(|rule| rule.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RULES.len());
    }

    #[test]
    fn complaints_name_place_and_rule() {
        let error = run(&Tree::of(&[("a.rs", "fn main() {}\n")])).unwrap_err();
        assert!(
            error.contains(
                "a.rs:1: the file must open with //!, what it is and is not [module-documentation]"
            ),
            "{error}"
        );
    }
}
