//! A case, and how it is checked.

use std::collections::BTreeSet;

use pellucid_compile::rules::RuleMap;
use pellucid_compile::walk::walk;
use pellucid_compile::{Builder, Keep, Var};
use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Tensor, ValueId};
use pellucid_reference::{Array, run};

/// How an input's numbers are chosen: evenly spread over a range, in a shuffled order, so that no two are equal.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// Differentiated.
    Float(Vec<usize>, f64, f64),
    /// Given as it is.
    Constant(Tensor),
    /// Left out.
    Missing,
}

/// One operator on given inputs.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) operator: &'static str,
    pub(crate) inputs: Vec<Input>,
    pub(crate) attributes: Vec<(&'static str, Attribute)>,
    pub(crate) outputs: usize,
    /// Whether the derivative is declared zero.
    pub(crate) flat: bool,
}

/// What is done to a derivative on purpose.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    None,
    Scaled(f64),
    Missing,
}

struct Probe {
    graph: Graph,
    inputs: Vec<ValueId>,
    loss: ValueId,
    gradients: Vec<Option<ValueId>>,
    /// Σ gradient · direction, and its own gradients.
    slope: Option<ValueId>,
    curvatures: Vec<Option<ValueId>>,
}

/// A deterministic stream of numbers in [0, 1).
fn stream(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 11) as f64 / (1u64 << 53) as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number from 0 to i")]
pub(crate) fn spread(shape: &[usize], low: f64, high: f64, seed: &mut u64) -> Vec<f64> {
    let count: usize = shape.iter().product();
    let mut values: Vec<f64> =
        (0..count).map(|i| low + (high - low) * (i as f64 + 0.5) / count.max(1) as f64).collect();
    for i in (1..count).rev() {
        let j = ((stream(seed) * (i + 1) as f64).floor() as usize).min(i);
        values.swap(i, j);
    }
    values
}

pub(crate) fn build(case: &Case, seed: &mut u64) -> Result<(Builder, Vec<ValueId>, ValueId), String> {
    let mut graph = Graph::new();
    let mut inputs = Vec::new();
    let mut node = NewNode { operator: case.operator.to_owned(), ..NewNode::default() };
    for (index, input) in case.inputs.iter().enumerate() {
        let id = match input {
            Input::Float(shape, ..) => {
                let shape = shape.iter().map(|size| Dim::from(*size)).collect();
                let id = graph
                    .add_input(format!("x{index}"), ElementType::F64, Some(shape))
                    .map_err(|error| error.to_string())?;
                inputs.push(id);
                Some(id)
            }
            Input::Constant(tensor) => Some(
                graph.add_constant(format!("c{index}"), tensor.clone()).map_err(|error| error.to_string())?,
            ),
            Input::Missing => None,
        };
        node.inputs.push(id);
    }
    node.outputs = (0..case.outputs).map(|index| format!("y{index}")).collect();
    // Outputs that the operator must have, and that nobody takes here, have no name.
    let fewest = pellucid_graph::operators::lookup(case.operator).map_or(0, |operator| operator.outputs.min);
    node.outputs.resize(case.outputs.max(fewest), String::new());
    node.attributes =
        case.attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let id = graph.push(node).map_err(|error| error.to_string())?;
    let outputs: Vec<ValueId> = graph.node(id).outputs.iter().flatten().copied().collect();
    let builder = Builder::new(graph);
    let mut loss: Option<Var<'_>> = None;
    for output in outputs {
        let y = builder.var(output).cast(ElementType::F64);
        let part = weighted(&builder, y, seed)?;
        loss = Some(match loss {
            Some(sum) => sum + part,
            None => part,
        });
    }
    let loss = loss.ok_or("no output")?.id();
    Ok((builder, inputs, loss))
}

/// Σ of y times numbers that make every element count differently.
fn weighted<'g>(builder: &'g Builder, y: Var<'g>, seed: &mut u64) -> Result<Var<'g>, String> {
    let shape: Vec<usize> = y
        .shape()
        .map_err(|error| error.to_string())?
        .iter()
        .map(|dim| dim.size().ok_or_else(|| format!("the shape of {} is not inferred", y.name())))
        .collect::<Result<_, _>>()?;
    let weights = spread(&shape, 0.3, 1.7, seed);
    let rank = shape.len();
    let product = y * builder.values(ElementType::F64, shape, &weights);
    let axes: Vec<usize> = (0..rank).collect();
    Ok(product.sum(&axes, Keep::None))
}

fn probe(case: &Case, seed: &mut u64, direction: &[Vec<f64>], fault: Fault) -> Result<Probe, String> {
    let text = |error: pellucid_compile::CompileError| error.to_string();
    let (builder, inputs, loss) = build(case, seed)?;
    let one = builder.scalar(ElementType::F64, 1.0);
    let found = walk(&builder, &[(loss, one)], &inputs, &RuleMap::GRADIENT).map_err(text)?;
    let mut gradients: Vec<Option<Var<'_>>> = inputs.iter().map(|id| found.get(id).copied()).collect();
    match fault {
        Fault::None => {}
        Fault::Scaled(factor) => gradients[0] = gradients[0].map(|gradient| gradient * factor),
        Fault::Missing => gradients[0] = None,
    }
    let mut slope: Option<Var<'_>> = None;
    for ((id, gradient), along) in inputs.iter().zip(&gradients).zip(direction) {
        let Some(gradient) = gradient else { continue };
        let shape = builder.graph().value(*id).static_shape().ok_or("static input")?;
        let axes: Vec<usize> = (0..shape.len()).collect();
        let part = (*gradient * builder.values(ElementType::F64, shape, along)).sum(&axes, Keep::None);
        slope = Some(match slope {
            Some(sum) => sum + part,
            None => part,
        });
    }
    let curvatures = match slope {
        Some(slope) => {
            let found = walk(&builder, &[(slope.id(), one)], &inputs, &RuleMap::GRADIENT).map_err(text)?;
            inputs.iter().map(|id| found.get(id).map(|v| v.id())).collect()
        }
        None => vec![None; inputs.len()],
    };
    let (gradients, slope) = (gradients.into_iter().map(|g| g.map(Var::id)).collect(), slope.map(Var::id));
    let graph = builder.finish().map_err(text)?;
    Ok(Probe { graph, inputs, loss, gradients, slope, curvatures })
}

fn arrays(probe: &Probe, at: &[Vec<f64>]) -> Vec<(ValueId, Array)> {
    probe
        .inputs
        .iter()
        .zip(at)
        .map(|(id, values)| {
            let shape = probe.graph.value(*id).static_shape().unwrap();
            (*id, Array::Float(ndarray::ArrayD::from_shape_vec(shape, values.clone()).unwrap()))
        })
        .collect()
}

fn numbers(probe: &Probe, at: &[Vec<f64>], wanted: ValueId) -> Result<Vec<f64>, String> {
    let out = run(&probe.graph, &arrays(probe, at), &[wanted]).map_err(|error| error.to_string())?;
    match &out[0] {
        Array::Float(values) => Ok(values.iter().copied().collect()),
        other => Err(format!("expected floats, found {other:?}")),
    }
}

/// The derivative of `wanted` along `direction`, by Richardson's extrapolation of central differences.
fn central(probe: &Probe, x: &[Vec<f64>], direction: &[Vec<f64>], wanted: ValueId) -> Result<f64, String> {
    let shifted = |h: f64| -> Result<f64, String> {
        let at: Vec<Vec<f64>> =
            x.iter().zip(direction).map(|(x, v)| x.iter().zip(v).map(|(x, v)| x + h * v).collect()).collect();
        Ok(numbers(probe, &at, wanted)?[0])
    };
    let slope = |h: f64| -> Result<f64, String> { Ok((shifted(h)? - shifted(-h)?) / (2.0 * h)) };
    let h = 2e-3;
    let (coarse, middle, fine) = (slope(h)?, slope(h / 2.0)?, slope(h / 4.0)?);
    let (first, second) = ((4.0 * middle - coarse) / 3.0, (4.0 * fine - middle) / 3.0);
    Ok((16.0 * second - first) / 15.0)
}

/// Checks first and second order; the error says what differs.
pub(crate) fn check(case: &Case, fault: Fault, tolerance: f64) -> Result<(), String> {
    let about = |problem: String| format!("{} {:?}: {problem}", case.operator, case.attributes);
    let mut seed = 20_26;
    let mut x = Vec::new();
    let mut direction = Vec::new();
    for input in &case.inputs {
        if let Input::Float(shape, low, high) = input {
            x.push(spread(shape, *low, *high, &mut seed));
            direction.push(spread(shape, -1.0, 1.1, &mut seed));
        }
    }
    let probe = probe(case, &mut seed, &direction, fault).map_err(about)?;
    let along = |ids: &[Option<ValueId>]| -> Result<f64, String> {
        let mut sum = 0.0;
        for (id, v) in ids.iter().zip(&direction) {
            if let Some(id) = id {
                let gradient = numbers(&probe, &x, *id)?;
                sum += gradient.iter().zip(v).map(|(g, v)| g * v).sum::<f64>();
            }
        }
        Ok(sum)
    };
    let compare = |order: &str, ours: f64, theirs: f64| {
        let close = (ours - theirs).abs() <= tolerance * theirs.abs().max(1.0);
        if close {
            Ok(())
        } else {
            Err(about(format!("{order} order: {ours} where differences say {theirs}")))
        }
    };
    let first = central(&probe, &x, &direction, probe.loss).map_err(about)?;
    if !case.flat && first.abs() < 1e-6 {
        return Err(about("the reference derivative is zero, which proves nothing".to_owned()));
    }
    compare("first", along(&probe.gradients).map_err(about)?, first)?;
    if let Some(slope) = probe.slope {
        // Differences of a difference-free formula lose fewer digits than differences twice.
        let second = central(&probe, &x, &direction, slope).map_err(about)?;
        compare("second", along(&probe.curvatures).map_err(about)?, second)?;
    }
    Ok(())
}

/// Operators that the first and second derivative of a case consist of.
pub(crate) fn emitted(case: &Case) -> BTreeSet<String> {
    let mut seed = 1;
    let direction: Vec<Vec<f64>> = case
        .inputs
        .iter()
        .filter_map(|input| match input {
            Input::Float(shape, ..) => Some(vec![1.0; shape.iter().product()]),
            _ => None,
        })
        .collect();
    match probe(case, &mut seed, &direction, Fault::None) {
        Ok(probe) => probe.graph.nodes().iter().map(|node| node.operator.clone()).collect(),
        Err(error) => BTreeSet::from([format!("nothing: {error}")]),
    }
}
