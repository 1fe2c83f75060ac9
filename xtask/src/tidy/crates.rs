//! Rules about crates: what each is called, and what it may depend on.

use toml::{Table, Value};

use super::Complaint;
use crate::tree::Tree;

/// Our crates from the bottom up: a crate depends only on crates of a lower level. Crates of one level do not know
/// each other.
const LEVELS: [(&str, u32); 14] = [
    ("pellucid-graph", 0),
    ("pellucid-assets", 0),
    ("pellucid-reference", 1),
    ("pellucid-compile", 2),
    ("pellucid-runtime", 3),
    ("pellucid", 4),
    ("pellucid-data", 5),
    ("pellucid-weights", 5),
    ("pellucid-train", 6),
    ("pellucid-cli", 7),
    ("pellucid-server", 7),
    ("pellucid-python", 7),
    ("pellucid-bench", 7),
    ("xtask", 8),
];

/// For tests only; nothing may depend on it otherwise, so that it may use what it likes.
const TESTKIT: &str = "pellucid-testkit";

const FRONT_ENDS: [&str; 3] = ["pellucid-cli", "pellucid-server", "pellucid-python"];

/// Our crates that a front end may use.
const FOR_FRONT_ENDS: [&str; 4] = ["pellucid", "pellucid-assets", "pellucid-data", "pellucid-train"];

/// Crates that compute or decode; a front end that needs one holds an algorithm.
const ALGORITHMS: [&str; 12] = [
    "bytemuck",
    "gemm",
    "half",
    "image",
    "libm",
    "matrixmultiply",
    "nalgebra",
    "ndarray",
    "num-traits",
    "prost",
    "rand",
    "rayon",
];

const ENGINES: [&str; 6] = ["rten", "ort", "tract", "candle", "burn", "onnxruntime"];

struct Manifest<'a> {
    path: &'a str,
    name: String,
    table: Table,
}

impl Manifest<'_> {
    /// Names of the packages in these tables, `package = "…"` resolved, platform tables included.
    fn dependencies(&self, kinds: &[&str]) -> Vec<String> {
        let mut tables: Vec<&Table> = vec![&self.table];
        if let Some(targets) = self.table.get("target").and_then(Value::as_table) {
            tables.extend(targets.values().filter_map(Value::as_table));
        }
        let mut names = Vec::new();
        for (table, kind) in tables.iter().flat_map(|table| kinds.iter().map(move |kind| (table, kind))) {
            for (key, value) in table.get(*kind).and_then(Value::as_table).into_iter().flatten() {
                names.push(value.get("package").and_then(Value::as_str).unwrap_or(key).to_owned());
            }
        }
        names
    }
}

const SHIPPED: &[&str] = &["dependencies", "build-dependencies"];
const EVERY: &[&str] = &["dependencies", "build-dependencies", "dev-dependencies"];

/// Manifests of packages, and complaints of those that cannot be read.
fn manifests(tree: &Tree) -> (Vec<Manifest<'_>>, Vec<Complaint>) {
    let (mut manifests, mut complaints) = (Vec::new(), Vec::new());
    for (path, text) in
        tree.texts().filter(|(path, _)| *path == "Cargo.toml" || path.ends_with("/Cargo.toml"))
    {
        match text.parse::<Table>() {
            Ok(table) => {
                let name =
                    table.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
                if let Some(name) = name {
                    manifests.push(Manifest { path, name: name.to_owned(), table });
                }
            }
            Err(error) => complaints.push(Complaint::new(path, error.message().to_owned())),
        }
    }
    (manifests, complaints)
}

pub(super) fn names(tree: &Tree) -> Vec<Complaint> {
    let (manifests, mut complaints) = manifests(tree);
    for manifest in manifests {
        let short = manifest.name.trim_start_matches("pellucid-");
        if ["utils", "util", "common", "core", "shared", "helpers", "misc", "base"].contains(&short) {
            let problem = format!("{} says nothing: name a crate for what it is", manifest.name);
            complaints.push(Complaint::new(manifest.path, problem));
        }
    }
    complaints
}

fn level(name: &str) -> Option<u32> {
    LEVELS.iter().find(|(known, _)| *known == name).map(|(_, level)| *level)
}

fn ours(name: &str) -> bool {
    name == "pellucid" || name.starts_with("pellucid-")
}

pub(super) fn order(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for manifest in manifests(tree).0.iter().filter(|manifest| !manifest.path.starts_with("fuzz/")) {
        if manifest.name == TESTKIT {
            continue;
        }
        let Some(own) = level(&manifest.name) else {
            let problem =
                format!("{} has no place in the order of crates: give it one in xtask", manifest.name);
            complaints.push(Complaint::new(manifest.path, problem));
            continue;
        };
        for dependency in manifest.dependencies(SHIPPED).iter().filter(|name| ours(name)) {
            if level(dependency).is_none_or(|other| other >= own) {
                let problem =
                    format!("{} must not depend on {dependency}: dependencies point one way", manifest.name);
                complaints.push(Complaint::new(manifest.path, problem));
            }
        }
    }
    complaints
}

pub(super) fn engines(tree: &Tree) -> Vec<Complaint> {
    let engine = |name: &str| {
        ENGINES.iter().any(|engine| {
            name.strip_prefix(engine).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    };
    let mut complaints = Vec::new();
    for manifest in manifests(tree).0.iter().filter(|manifest| manifest.name != "pellucid-runtime") {
        for dependency in manifest.dependencies(EVERY).iter().filter(|name| engine(name)) {
            let problem = format!("{dependency} is an engine: only crates/runtime names one");
            complaints.push(Complaint::new(manifest.path, problem));
        }
    }
    complaints
}

pub(super) fn front_ends(tree: &Tree) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for manifest in manifests(tree).0.iter().filter(|manifest| FRONT_ENDS.contains(&manifest.name.as_str())) {
        for dependency in manifest.dependencies(SHIPPED) {
            let inner = ours(&dependency) && !FOR_FRONT_ENDS.contains(&dependency.as_str());
            if inner || ALGORITHMS.contains(&dependency.as_str()) {
                let problem = format!("{dependency}: a front end calls the library and holds no algorithm");
                complaints.push(Complaint::new(manifest.path, problem));
            }
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, rest: &str) -> String {
        format!("[package]\nname = \"{name}\"\n{rest}")
    }

    fn problems(complaints: Vec<Complaint>) -> Vec<String> {
        complaints.into_iter().map(|complaint| complaint.problem).collect()
    }

    #[test]
    fn an_empty_name_is_found() {
        let (good, bad) = (package("pellucid-graph", ""), package("pellucid-utils", ""));
        let tree = Tree::of(&[("a/Cargo.toml", &good), ("b/Cargo.toml", &bad)]);
        assert_eq!(problems(names(&tree)), ["pellucid-utils says nothing: name a crate for what it is"]);
        assert_eq!(names(&Tree::of(&[("Cargo.toml", "[package")])).len(), 1);
    }

    #[test]
    fn a_dependency_that_points_up_is_found() {
        let graph = package("pellucid-graph", "[dev-dependencies]\npellucid-testkit.workspace = true\n");
        let compile = package("pellucid-compile", "[dependencies]\npellucid-graph.workspace = true\n");
        let good = Tree::of(&[("graph/Cargo.toml", &graph), ("compile/Cargo.toml", &compile)]);
        assert_eq!(problems(order(&good)), Vec::<String>::new());
        let sabotaged =
            package("pellucid-compile", "[dependencies]\nr = { package = \"pellucid-runtime\" }\n");
        let shipped =
            package("pellucid-graph", "[target.unix.dependencies]\npellucid-testkit.workspace = true\n");
        let strange = package("pellucid-strange", "");
        let bad =
            Tree::of(&[("c/Cargo.toml", &sabotaged), ("g/Cargo.toml", &shipped), ("s/Cargo.toml", &strange)]);
        assert_eq!(
            problems(order(&bad)),
            [
                "pellucid-compile must not depend on pellucid-runtime: dependencies point one way",
                "pellucid-graph must not depend on pellucid-testkit: dependencies point one way",
                "pellucid-strange has no place in the order of crates: give it one in xtask",
            ]
        );
    }

    #[test]
    fn an_engine_outside_runtime_is_found() {
        let runtime = package("pellucid-runtime", "[dependencies]\nrten = \"1\"\n");
        let good = Tree::of(&[("r/Cargo.toml", &runtime)]);
        assert_eq!(problems(engines(&good)), Vec::<String>::new());
        let bad = package("pellucid", "[dev-dependencies]\nrten-tensor = \"1\"\nrtenx = \"1\"\n");
        let bad = Tree::of(&[("r/Cargo.toml", &runtime), ("p/Cargo.toml", &bad)]);
        assert_eq!(problems(engines(&bad)), ["rten-tensor is an engine: only crates/runtime names one"]);
    }

    #[test]
    fn an_algorithm_in_a_front_end_is_found() {
        let good = package("pellucid-cli", "[dependencies]\npellucid.workspace = true\nclap = \"4\"\n");
        assert_eq!(problems(front_ends(&Tree::of(&[("c/Cargo.toml", &good)]))), Vec::<String>::new());
        let bad =
            package("pellucid-cli", "[dependencies]\nndarray = \"1\"\npellucid-compile.workspace = true\n");
        let found = problems(front_ends(&Tree::of(&[("c/Cargo.toml", &bad)])));
        assert_eq!(
            found,
            [
                "ndarray: a front end calls the library and holds no algorithm",
                "pellucid-compile: a front end calls the library and holds no algorithm",
            ]
        );
    }
}
