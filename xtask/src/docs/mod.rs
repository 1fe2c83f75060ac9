//! Documents that are generated from the registries, so that they cannot say anything else.

mod methods;
mod operators;

use std::fs;
use std::path::Path;

const COMMAND: &str = "cargo xtask docs";

/// What makes a document.
type Make = fn() -> String;

/// Path of each document, and what makes it.
const DOCUMENTS: [(&str, Make); 2] =
    [("docs/methods.md", methods::document), ("docs/operators.md", operators::document)];

/// Writes every document.
pub(crate) fn write(root: &Path) -> Result<(), String> {
    for (path, document) in DOCUMENTS {
        let path = root.join(path);
        let told = |error: std::io::Error| format!("{}: {error}", path.display());
        fs::create_dir_all(path.parent().unwrap_or(root)).map_err(told)?;
        fs::write(&path, document()).map_err(told)?;
    }
    Ok(())
}

/// Says which documents are not what the registries make.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let stale: Vec<String> = DOCUMENTS
        .into_iter()
        .filter_map(|(path, document)| {
            let found = fs::read_to_string(root.join(path)).ok();
            difference(path, found.as_deref(), &document())
        })
        .collect();
    if stale.is_empty() { Ok(()) } else { Err(stale.join("\n")) }
}

/// Where a document first differs from what it should be.
fn difference(path: &str, found: Option<&str>, wanted: &str) -> Option<String> {
    let Some(found) = found else {
        return Some(format!("{path} is missing: run `{COMMAND}`"));
    };
    if found == wanted {
        return None;
    }
    let same = found.lines().zip(wanted.lines()).take_while(|(a, b)| a == b).count();
    Some(format!("{path}:{}: stale: run `{COMMAND}`", same + 1))
}

/// Text that is safe in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_document_is_found() {
        assert_eq!(difference("a.md", Some("x\ny\n"), "x\ny\n"), None);
        assert_eq!(
            difference("a.md", Some("x\ny\n"), "x\nz\n").unwrap(),
            "a.md:2: stale: run `cargo xtask docs`"
        );
        assert_eq!(
            difference("a.md", Some("x\n"), "x\nz\n").unwrap(),
            "a.md:2: stale: run `cargo xtask docs`"
        );
        assert!(difference("a.md", None, "x\n").unwrap().contains("missing"));
    }

    #[test]
    fn every_entry_of_a_registry_is_documented() {
        let methods = methods::document();
        for definition in pellucid::methods::all() {
            assert!(methods.contains(&format!("\n## {}\n", definition.name)), "{}", definition.name);
            assert!(methods.contains(definition.source.id), "{}", definition.name);
        }
        let operators = operators::document();
        for operator in pellucid_graph::operators::all() {
            assert!(operators.contains(&format!("\n| `{}` |", operator.name)), "{}", operator.name);
        }
    }
}
