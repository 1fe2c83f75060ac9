//! Whether engines agree on a model: its prediction, its gradient and one attribution, run on every engine present.
//!
//! Rounding alone makes engines differ, and a deep network magnifies it: a gradient changes where a rectifier's input
//! lies within rounding of zero. What rounding does to this model is measured, by changing its inputs by one part in a
//! million, and engines are said to part where they differ by more than several times that.

mod part;
mod report;

use std::time::Instant;

use pellucid_compile::methods::Settings;
use pellucid_graph::{ElementType, Graph, Node};
use pellucid_runtime::Engine;

pub use self::part::Parting;
use crate::array::Array;
use crate::error::Error;
use crate::explain::{Limits, Options, Progress, TargetChoice, explain, predict};
use crate::input::Inputs;
use crate::methods;
use crate::model::Model;

/// The method whose attribution is compared.
const ATTRIBUTION: &str = "integrated-gradients";

/// Points of its quadrature.
const STEPS: usize = 4;

/// Multiplications and additions up to which an exact engine, thousands of times slower, is run unasked.
const EXACT_WORK: f64 = 2e8;

/// Part by which inputs are changed to see what rounding does.
const NUDGE: f32 = 1e-6;

/// Engines part where they differ by this many times what rounding does.
const MARGIN: f64 = 10.0;

/// What is always counted as rounding: the error of a few hundred sums of `float32`.
const ROUNDING: f64 = 2e-5;

/// How to verify.
#[derive(Debug, Clone, Default)]
pub struct Verify {
    /// Device, threads, memory, batch; its engine is not looked at.
    pub limits: Limits,
    /// Engines to run; every one present where it is empty, exact ones if the model is small.
    pub engines: Vec<Engine>,
    /// The model's output that is explained; its first where it is `None`.
    pub score: Option<String>,
    /// Seed of random inputs, where none are given.
    pub seed: u64,
}

/// How far a result is from the measure's: ‖a − b‖ / ‖b‖, or why there is none.
#[derive(Debug, Clone, PartialEq)]
pub enum Difference {
    /// The relative difference.
    Relative(f64),
    /// There is no result.
    Failed(String),
}

impl Difference {
    fn value(&self) -> Option<f64> {
        match self {
            Self::Relative(value) => Some(*value),
            Self::Failed(_) => None,
        }
    }
}

/// The three results of one engine against the measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// Name of the engine, or `rounding` for what a change of the inputs by one part in a million does.
    pub name: String,
    /// The model's outputs.
    pub prediction: Difference,
    /// The gradient at the inputs.
    pub gradient: Difference,
    /// Integrated gradients from zero.
    pub attribution: Difference,
    /// Seconds that all three took, loading included.
    pub seconds: f64,
}

impl Compared {
    fn parts(&self) -> [(&'static str, &Difference); 3] {
        [("prediction", &self.prediction), ("gradient", &self.gradient), ("attribution", &self.attribution)]
    }
}

/// What verifying found.
#[derive(Debug, Clone, PartialEq)]
pub struct Verification {
    /// Name of the model.
    pub model: String,
    /// What was fed, in words.
    pub inputs: String,
    /// The engine that the others are compared with: an exact one where one ran.
    pub measure: String,
    /// What rounding does to this model, on the measure.
    pub rounding: Compared,
    /// Every other engine.
    pub engines: Vec<Compared>,
    /// Engines that were not run, and why.
    pub skipped: Vec<(String, String)>,
    /// Where engines part, the first node each.
    pub partings: Vec<Parting>,
    /// Whether every engine that ran agrees with the measure.
    pub agree: bool,
    /// The outcome in words.
    pub verdict: String,
}

/// Results of one engine.
struct Results {
    prediction: Result<Vec<Array>, String>,
    gradient: Result<Vec<Array>, String>,
    attribution: Result<Vec<Array>, String>,
    seconds: f64,
}

/// Runs the model, its gradient and integrated gradients of a few points on every engine, and tells where they part.
/// It costs about ten evaluations of the model an engine.
///
/// # Errors
/// Inputs that are neither given nor can be drawn, because sizes other than the number of rows are free; fewer than one
/// engine; cancelled runs. That a method does not pass the model, or an engine fails, is told in the result.
pub fn verify(
    model: &Model,
    inputs: Option<Inputs>,
    options: &Verify,
    progress: &dyn Progress,
) -> Result<Verification, Error> {
    let (inputs, described) = match inputs {
        Some(inputs) => {
            let names: Vec<&str> = inputs.rows().iter().map(|row| row.name.as_str()).collect();
            let described = names.join(", ");
            (inputs, described)
        }
        None => (drawn(model, options.seed)?, format!("random numbers, seed {}", options.seed)),
    };
    let (engines, skipped) = chosen(model.graph(), options);
    let Some((measure, others)) = engines.split_first() else {
        let reasons: Vec<String> = skipped.iter().map(|(name, reason)| format!("{name}: {reason}")).collect();
        return Err(Error::Setting { name: "engine".to_owned(), problem: reasons.join("; ") });
    };
    let targets = top_classes(model, &inputs, options, *measure, progress)?;
    let run = |engine: Engine, inputs: &Inputs| {
        results(model, inputs, options, engine, targets.as_deref(), progress)
    };
    let of_measure = run(*measure, &inputs)?;
    let nudged = run(*measure, &nudged(&inputs)?)?;
    let rounding = compare("rounding", &nudged, &of_measure);
    let mut compared = Vec::new();
    let mut partings = Vec::new();
    for engine in others {
        let found = compare(engine.name(), &run(*engine, &inputs)?, &of_measure);
        if let Some(quantity) = parts(&found, &rounding) {
            let target = targets.as_deref();
            let place =
                part::find(model, &inputs, options, (*engine, *measure), (quantity, target), progress)?;
            partings.push(place);
        }
        compared.push(found);
    }
    let mut verification = Verification {
        model: model.name().to_owned(),
        inputs: described,
        measure: measure.name().to_owned(),
        rounding,
        engines: compared,
        skipped,
        agree: partings.is_empty(),
        partings,
        verdict: String::new(),
    };
    verification.verdict = report::verdict(&verification);
    Ok(verification)
}

/// The first quantity in which an engine differs by more than rounding, or which it alone fails to give.
fn parts(found: &Compared, rounding: &Compared) -> Option<&'static str> {
    found.parts().into_iter().zip(rounding.parts()).find_map(|((name, found), (_, rounding))| {
        let apart = match (found, rounding.value()) {
            (Difference::Relative(value), Some(rounding)) => {
                !value.is_finite() || *value > ROUNDING.max(MARGIN * rounding)
            }
            // The measure has the result, this engine has not.
            (Difference::Failed(_), Some(_)) => true,
            // The measure has none either.
            (_, None) => false,
        };
        apart.then_some(name)
    })
}

/// Engines to run, the measure first, and those that are not run.
fn chosen(graph: &Graph, options: &Verify) -> (Vec<Engine>, Vec<(String, String)>) {
    let mut engines = Vec::new();
    let mut skipped = Vec::new();
    let asked = |engine: Engine| options.engines.contains(&engine);
    for engine in Engine::ALL {
        if !options.engines.is_empty() && !asked(engine) {
            continue;
        }
        let problem = match engine.available() {
            Err(error) => Some(error.to_string()),
            Ok(()) if engine.is_exact() && !asked(engine) && work(graph) > EXACT_WORK => Some(format!(
                "it would be slow: the model does {:.1e} operations; ask for it with --engine {}",
                work(graph),
                engine.name()
            )),
            Ok(()) => None,
        };
        match problem {
            Some(problem) => skipped.push((engine.name().to_owned(), problem)),
            None => engines.push(engine),
        }
    }
    engines.sort_by_key(|engine| !engine.is_exact());
    (engines, skipped)
}

/// Multiplications and additions of a row, roughly: those of products with constants, and one for any other element.
fn work(graph: &Graph) -> f64 {
    graph.nodes().iter().map(|node| node_work(graph, node)).sum()
}

fn node_work(graph: &Graph, node: &Node) -> f64 {
    let sizes = |id: Option<pellucid_graph::ValueId>| -> Vec<f64> {
        let shape = id.and_then(|id| graph.value(id).shape.as_ref());
        shape.into_iter().flatten().map(|dim| dim.size().map_or(1.0, |size| size as f64)).collect()
    };
    let made: f64 = sizes(node.output(0)).iter().product();
    let weight = sizes(node.inputs.get(1).copied().flatten());
    if weight.len() < 2 {
        return made;
    }
    let all: f64 = weight.iter().product();
    // A kernel [o, c, …] does c · … operations for an output; a matrix [k, n] does k, whichever way it lies.
    let least = weight[0].min(weight[1]).max(1.0);
    2.0 * made * if weight.len() == 2 { all / least } else { all / weight[0].max(1.0) }
}

/// One row of seeded numbers for every input: floats from −1 to 1, integers and truth values 0 or 1.
fn drawn(model: &Model, seed: u64) -> Result<Inputs, Error> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f32::from(u16::try_from(state >> 48).unwrap_or(0)) / 32768.0 - 1.0
    };
    let mut arrays = Vec::new();
    for value in model.inputs() {
        let free = || Error::Input {
            place: value.name.clone(),
            problem: "its sizes are free, so no numbers can be drawn for it: give an input file".to_owned(),
        };
        let mut shape = Vec::new();
        for (axis, dim) in value.shape.as_ref().ok_or_else(free)?.iter().enumerate() {
            shape.push(match dim.size() {
                Some(size) => size,
                None if axis == 0 => 1,
                None => return Err(free()),
            });
        }
        let count = shape.iter().product();
        let numbers: Vec<f32> = (0..count).map(|_| next()).collect();
        let element = value.element.unwrap_or(ElementType::F32);
        let array = Array::from_f32(&shape, numbers).ok_or_else(free)?;
        let whole = || array.to_f32();
        arrays.push((
            value.name.clone(),
            match element {
                ElementType::Bool => Array::Bool(whole().mapv(|number| number > 0.0)),
                ElementType::F64 => Array::F64(array.to_f64()),
                element if element.is_float() => array,
                _ => Array::I64(whole().mapv(|number| i64::from(number > 0.0))),
            },
        ));
    }
    Inputs::from_arrays(arrays)
}

/// The inputs, every float changed by one part in a million, up and down in turn.
fn nudged(inputs: &Inputs) -> Result<Inputs, Error> {
    let arrays = inputs.arrays().iter().map(|(name, array)| {
        let mut up = false;
        let mut factor = || {
            up = !up;
            if up { 1.0 + NUDGE } else { 1.0 - NUDGE }
        };
        let array = match array {
            Array::F32(array) => Array::F32(array.mapv(|value| value * factor())),
            Array::F64(array) => Array::F64(array.mapv(|value| value * f64::from(factor()))),
            other => other.clone(),
        };
        (name.clone(), array)
    });
    Inputs::new(arrays.collect(), inputs.rows().to_vec())
}

/// The classes that the measure puts first, so that every engine explains the same; `None` where there are none.
fn top_classes(
    model: &Model,
    inputs: &Inputs,
    options: &Verify,
    measure: Engine,
    progress: &dyn Progress,
) -> Result<Option<Vec<usize>>, Error> {
    let limits = Limits { engine: measure, ..options.limits };
    let prediction = predict(model, inputs, options.score.as_deref(), &limits, progress)?;
    let classes: Option<Vec<usize>> =
        (0..inputs.len()).map(|row| prediction.top(row, 1).first().map(|class| class.index)).collect();
    Ok(classes)
}

/// Everything that one engine is asked for.
fn results(
    model: &Model,
    inputs: &Inputs,
    options: &Verify,
    engine: Engine,
    targets: Option<&[usize]>,
    progress: &dyn Progress,
) -> Result<Results, Error> {
    let start = Instant::now();
    let limits = Limits { engine, ..options.limits };
    let prediction = kept(predict(model, inputs, options.score.as_deref(), &limits, progress))?
        .map(|prediction| prediction.outputs.into_iter().map(|(_, array)| array).collect());
    let explained = |method: Options| -> Result<Result<Vec<Array>, String>, Error> {
        let method = Options {
            targets: targets.iter().map(|classes| TargetChoice::Rows(classes.to_vec())).collect(),
            score: options.score.clone(),
            limits,
            ..method
        };
        Ok(kept(explain(model, inputs.clone(), &method, progress))?.map(|explanation| {
            let explained = explanation.explained.into_iter();
            explained.flat_map(|one| one.attribution.values).map(|(_, values)| Array::F32(values)).collect()
        }))
    };
    let gradient = explained(Options::new("gradient"))?;
    let attribution =
        explained(Options::new(ATTRIBUTION).set("quadrature", "gauss-legendre").set("steps", STEPS))?;
    Ok(Results { prediction, gradient, attribution, seconds: start.elapsed().as_secs_f64() })
}

/// What is told instead of ending: everything but being cancelled.
fn kept<T>(result: Result<T, Error>) -> Result<Result<T, String>, Error> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Error::Cancelled) => Err(Error::Cancelled),
        Err(error) => Ok(Err(error.to_string())),
    }
}

fn compare(name: &str, found: &Results, measure: &Results) -> Compared {
    let difference =
        |found: &Result<Vec<Array>, String>, measure: &Result<Vec<Array>, String>| match (found, measure) {
            (Ok(found), Ok(measure)) => Difference::Relative(relative(found, measure)),
            (Err(problem), _) | (_, Err(problem)) => Difference::Failed(problem.clone()),
        };
    Compared {
        name: name.to_owned(),
        prediction: difference(&found.prediction, &measure.prediction),
        gradient: difference(&found.gradient, &measure.gradient),
        attribution: difference(&found.attribution, &measure.attribution),
        seconds: found.seconds,
    }
}

/// ‖a − b‖ / ‖b‖ over all arrays, the larger over each; infinite where shapes, or places that are not finite, differ.
fn relative(found: &[Array], measure: &[Array]) -> f64 {
    if found.len() != measure.len() {
        return f64::INFINITY;
    }
    found.iter().zip(measure).map(|(a, b)| apart(a, b)).fold(0.0, f64::max)
}

/// ‖a − b‖ / ‖b‖ of two arrays.
fn apart(found: &Array, measure: &Array) -> f64 {
    if found.shape() != measure.shape() {
        return f64::INFINITY;
    }
    let (mut square, mut whole) = (0.0f64, 0.0f64);
    for (a, b) in found.to_f64().iter().zip(&measure.to_f64()) {
        if a.is_finite() && b.is_finite() {
            square += (a - b) * (a - b);
            whole += b * b;
        } else if a.to_bits() != b.to_bits() && !(a.is_nan() && b.is_nan()) {
            return f64::INFINITY;
        }
    }
    if square == 0.0 { 0.0 } else { (square / whole.max(f64::MIN_POSITIVE)).sqrt() }
}

/// The compiled gradient of the registry.
fn gradient_method() -> Result<pellucid_compile::Method, Error> {
    let definition = methods::find("gradient")?;
    let settings = Settings::new(definition, &[])?;
    definition.method(&settings)?.ok_or_else(|| Error::Internal("the gradient does not compile".to_owned()))
}

#[cfg(test)]
mod tests;
