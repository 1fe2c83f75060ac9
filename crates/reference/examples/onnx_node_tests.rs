//! Runs ONNX's own operator tests, as `onnx_node_tests.py DIR` writes them, through the reader and the interpreter.
//!
//! Every case ends as passed, skipped or failed. Skipped are cases of operators and types that are not read, counted
//! by reason, and the few disagreements, each with its name; every other case must pass. What inference says of every
//! value is compared with the value, too. Exits with 1 where a case failed, where a disagreement has gone, and where
//! fewer cases pass than the reader once read.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pellucid_graph::onnx::{DecodeError, Limits, read_file};
use pellucid_graph::{ElementType, Graph, Origin, ValueId};
use pellucid_reference::{Array, run};

/// Cases whose expected values the interpreter does not share, each with the reason. One that agrees has failed.
const DISAGREEMENTS: &[(&str, &str)] = &[
    ("test_resize_downsample_scales_cubic_align_corners", CORNERS),
    ("test_resize_downsample_scales_linear_align_corners", CORNERS),
    ("test_dynamicquantizelinear", HALVES),
    ("test_dynamicquantizelinear_expanded", HALVES),
];

/// Fewer passes mean that the reader refuses what it read before, which must not pass for skipping.
const FEWEST_PASSED: usize = 1178;

const CORNERS: &str = "align_corners counts with the integer output size, as PyTorch and ONNX Runtime do";

const HALVES: &str = "a quotient is a half in float64 and above it in float32, and is rounded";

enum Outcome {
    Passed,
    Skipped(String),
    Failed(String),
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: onnx_node_tests DIR")?;
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    cases.sort();
    let mut passed = 0;
    let mut skipped: BTreeMap<String, usize> = BTreeMap::new();
    let mut failed = Vec::new();
    for case in &cases {
        let name = case.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match check(case, &name) {
            Outcome::Passed => passed += 1,
            Outcome::Skipped(reason) => *skipped.entry(reason).or_default() += 1,
            Outcome::Failed(problem) => failed.push((name, problem)),
        }
    }
    let mut report = String::new();
    for (reason, count) in &skipped {
        writeln!(report, "skipped {count}: {reason}")?;
    }
    for (name, problem) in &failed {
        writeln!(report, "FAILED {name}: {problem}")?;
    }
    let skips: usize = skipped.values().sum();
    let enough = passed >= FEWEST_PASSED;
    if !enough {
        writeln!(report, "FAILED: {passed} cases passed, at least {FEWEST_PASSED} were expected to")?;
    }
    write!(report, "{passed} passed, {} failed, {skips} skipped", failed.len())?;
    eprintln!("{report}");
    Ok(if enough && failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(case: &Path, name: &str) -> Outcome {
    let graph = match read_file(case.join("model.onnx"), &Limits::default()) {
        Ok(graph) => graph,
        Err(error) => return unread(&error),
    };
    let data = match read_file(case.join("data.onnx"), &Limits::default()) {
        Ok(data) => data,
        Err(error) => return Outcome::Skipped(format!("its arrays are not read: {}", kind_of(&error))),
    };
    let disagreement = DISAGREEMENTS.iter().find(|(case, _)| *case == name);
    match (compare(&graph, &data, &case.join("tolerance")), disagreement) {
        (Ok(()), None) => Outcome::Passed,
        (Ok(()), Some(_)) => Outcome::Failed("it agrees: take it off the disagreements".to_owned()),
        (Err(_), Some((_, reason))) => Outcome::Skipped(format!("{name} disagrees: {reason}")),
        (Err(problem), None) if problem.contains("is random and not computed here") => {
            Outcome::Skipped("it is random".to_owned())
        }
        (Err(problem), None) => Outcome::Failed(problem),
    }
}

/// A case that is not read is skipped where the file is of an operator, opset or type that is declared not to be.
fn unread(error: &DecodeError) -> Outcome {
    match error {
        DecodeError::Unknown(nodes) => {
            let operators: Vec<&str> = nodes.iter().map(|node| node.operator.as_str()).collect();
            Outcome::Skipped(format!("{} is not known", operators.first().unwrap_or(&"an operator")))
        }
        error => Outcome::Skipped(kind_of(error)),
    }
}

/// An error without what differs from case to case.
fn kind_of(error: &DecodeError) -> String {
    match error {
        DecodeError::Node { node, problem } => format!("{}: {problem}", node.operator),
        DecodeError::Tensor { problem, .. } | DecodeError::Input { problem, .. } => problem.clone(),
        error => error.to_string(),
    }
}

fn array(data: &Graph, name: &str) -> Result<Array, String> {
    let id = data.find(name).ok_or_else(|| format!("there is no array {name:?}"))?;
    let tensor = data.constant(id).ok_or_else(|| format!("{name:?} is no constant"))?;
    Array::try_from(tensor).map_err(|error| error.to_string())
}

fn compare(graph: &Graph, data: &Graph, tolerance: &Path) -> Result<(), String> {
    let tolerance = std::fs::read_to_string(tolerance).map_err(|error| error.to_string())?;
    let numbers: Vec<f64> = tolerance.split_whitespace().filter_map(|number| number.parse().ok()).collect();
    let [relative, absolute] = numbers[..] else {
        return Err("the tolerance is not two numbers".to_owned());
    };
    let mut given = Vec::new();
    for id in graph.inputs() {
        given.push((*id, array(data, &format!("input.{}", graph.value(*id).name))?));
    }
    // Everything, so that what inference says of inner values is compared too.
    let wanted: Vec<ValueId> = graph
        .value_ids()
        .filter(|id| graph.outputs().contains(id) || matches!(graph.value(*id).origin, Origin::Node(..)))
        .collect();
    let found = run(graph, &given, &wanted).map_err(|error| error.to_string())?;
    for (id, array) in wanted.iter().zip(&found) {
        agrees_with_facts(graph, *id, array)?;
    }
    for id in graph.outputs() {
        let name = &graph.value(*id).name;
        let expected = array(data, &format!("output.{name}"))?;
        let position = wanted.iter().position(|wanted| wanted == id).ok_or("an output was not wanted")?;
        let element = data.find(&format!("output.{name}")).and_then(|id| data.value(id).element);
        let relative = relative.max(precision(element));
        same(&found[position], &expected, relative, absolute)
            .map_err(|problem| format!("{name}: {problem}"))?;
    }
    Ok(())
}

/// What inference says of a value must hold.
fn agrees_with_facts(graph: &Graph, id: ValueId, array: &Array) -> Result<(), String> {
    let value = graph.value(id);
    if let Some(element) = value.element
        && !array.holds(element)
    {
        return Err(format!("{:?} is inferred to be {element}, it is a {} array", value.name, array.kind()));
    }
    if let Some(shape) = &value.shape {
        let fits = shape.len() == array.rank()
            && shape
                .iter()
                .zip(array.shape())
                .all(|(dim, size)| dim.value().is_none_or(|_| dim.size() == Some(*size)));
        if !fits {
            let shape = pellucid_graph::display_shape(shape);
            return Err(format!("{:?} is inferred to be {shape}, it is {:?}", value.name, array.shape()));
        }
    }
    if let (Some(contents), Array::Int(array)) = (&value.contents, array) {
        let known = contents.len() == array.len()
            && contents
                .iter()
                .zip(array)
                .all(|(dim, element)| dim.value().is_none_or(|value| value == *element));
        if !known {
            return Err(format!("{:?} is inferred to hold {contents:?}, it holds {array:?}", value.name));
        }
    }
    Ok(())
}

/// Half-width floats were rounded on the way to the expected values; the interpreter never rounds.
fn precision(element: Option<ElementType>) -> f64 {
    match element {
        Some(ElementType::F16) => 1.0 / 512.0,
        Some(ElementType::BF16) => 1.0 / 64.0,
        _ => 0.0,
    }
}

fn same(found: &Array, expected: &Array, relative: f64, absolute: f64) -> Result<(), String> {
    if found.kind() != expected.kind() || found.shape() != expected.shape() {
        let (found, expected) = ((found.kind(), found.shape()), (expected.kind(), expected.shape()));
        return Err(format!("found {found:?}, expected {expected:?}"));
    }
    // An infinite number has no tolerance: its own would be infinite and let everything through.
    let near = |a: f64, b: f64| {
        let exact = a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
        exact || (b.is_finite() && (a - b).abs() <= absolute + relative * b.abs())
    };
    let (a, b) = (found.to_floats(), expected.to_floats());
    match a.iter().zip(&b).enumerate().find(|(_, (a, b))| !near(**a, **b)) {
        Some((position, (a, b))) => Err(format!("element {position} is {a}, expected {b}")),
        None => Ok(()),
    }
}
