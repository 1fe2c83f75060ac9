//! The checkers: one a claim, over random networks. The error says what broke and where.

use std::collections::BTreeMap;

use ndarray::{ArrayD, Axis};
use pellucid_compile::{Builder, Draws, Points, Quadrature, nodes};
use pellucid_graph::{Dim, ElementType, Graph};
use pellucid_testkit::random_graph::{Config, Functions, Input, REWRITES, Random, Rows, network};

use crate::attribute::{Attribution, Case, Runner, Subject, attribute, largest, sizes};

/// Networks a checker runs over.
const NETWORKS: u64 = 24;

/// Attributions smaller than this are of networks that do nothing.
const NOTHING: f64 = 1e-9;

fn config(seed: u64, functions: Functions) -> Config {
    let input = if seed.is_multiple_of(3) { Input::Vector } else { Input::Image };
    Config { input, functions, softmax: false, ..Config::default() }
}

/// What a checker found over all networks: enough must have said something.
fn tell(claim: &str, subject: &Subject, failures: &[String], checked: usize) -> Result<(), String> {
    assert!(checked >= 10, "{claim} of {} was checked {checked} times only", subject.name);
    if failures.is_empty() {
        return Ok(());
    }
    Err(format!("{claim} of {}: {} failures:\n{}", subject.name, failures.len(), failures.join("\n")))
}

fn total(found: &Attribution) -> f64 {
    found.values.iter().map(|value| value.abs()).sum()
}

fn gap(found: &Attribution) -> f64 {
    (found.score - found.baseline_score - found.values.sum()).abs()
}

/// Σ values = score − baseline score. Of rules that carry whole differences, within 1e-9 · Σ|values| of any network; of
/// means over a path, by a Gauss-Legendre rule of 64 points: within 1e-6 · Σ|values| of networks
/// without kinks, over the whole path; and of any network over a path so short that nested rules agree, so that no kink lies on it.
pub(crate) fn completeness(subject: &Subject) -> Result<(), String> {
    let mut failures = Vec::new();
    let mut checked = 0;
    for seed in 0..NETWORKS {
        for functions in [Functions::Smooth, Functions::Any] {
            let mut random = Random::new(seed);
            let config = config(seed, functions);
            let graph = network(&mut random, &config);
            let mut case = Case::random(&mut random, &graph, config.classes);
            // What carries whole differences knows no path, and so no kinks on it.
            let compares = subject.method.rules.compares();
            if functions == Functions::Any && !compares {
                shorten(subject, &graph, &mut case);
            }
            let found = attribute(subject, &graph, &case);
            if largest(&found.values) < NOTHING {
                continue;
            }
            checked += 1;
            let (gap, bound) = (gap(&found), if compares { 1e-9 } else { 1e-6 } * total(&found));
            if gap.is_nan() || gap > bound {
                failures.push(format!("seed {seed}, {functions:?}: the gap is {gap}, above {bound}"));
            }
        }
    }
    tell("completeness", subject, &failures, checked)
}

/// Σ values = score − mean score of the background within 5 of its standard errors, over 2,000 drawn points; the
/// standard error itself is below a tenth of what is spread over the values.
pub(crate) fn expected_completeness(subject: &Subject) -> Result<(), String> {
    const SAMPLES: usize = 2000;
    let mut failures = Vec::new();
    let mut checked = 0;
    for seed in 0..NETWORKS {
        let mut random = Random::new(6000 + seed);
        let config = Config { rows: Rows::Symbolic, ..config(seed, Functions::Any) };
        let graph = network(&mut random, &config);
        let case = Case::random(&mut random, &graph, config.classes);
        let runner = Runner::new(&graph, &subject.method);
        let rows = case.background.shape()[0];
        let scores: f64 = runner
            .at(std::slice::from_ref(&case.background), &vec![case.target[0]; rows])
            .iter()
            .chain(&runner.at(std::slice::from_ref(&case.background), &vec![case.target[1]; rows]))
            .map(|(score, _)| score / rows as f64)
            .sum();
        // Batches of points, so that the spread of their sums is known.
        let mut sums = Vec::new();
        for _ in 0..SAMPLES / 100 {
            let pick = (0..100).map(|_| i64::try_from(random.below(1 << 20)).unwrap()).collect();
            let position = (0..100).map(|_| random.between(0.0, 1.0)).collect();
            let mut here = case.clone();
            here.draws = Draws { pick, position };
            let found = attribute(subject, &graph, &here);
            if largest(&found.values) > NOTHING {
                sums.push(found.score - scores - found.values.sum());
            }
        }
        if sums.len() < 2 {
            continue;
        }
        checked += 1;
        let count = sums.len() as f64;
        let mean = sums.iter().sum::<f64>() / count;
        let spread = sums.iter().map(|sum| (sum - mean).powi(2)).sum::<f64>() / (count - 1.0);
        let error = (spread / count).sqrt();
        if mean.is_nan() || mean.abs() > 5.0 * error + 1e-9 {
            failures.push(format!("seed {seed}: the gap is {mean}, its standard error {error}"));
        }
    }
    tell("completeness in expectation", subject, &failures, checked)
}

/// Halves the path until rules of 7 and 16 points agree, which they do not across a kink between their points (two even
/// rules both put half of their weight on either side of the middle); then takes a tenth away at both ends, which lie
/// outside of the points.
fn shorten(subject: &Subject, graph: &Graph, case: &mut Case) {
    let runner = Runner::new(graph, &subject.method);
    let rules = [7, 16].map(|steps| nodes(Quadrature::GaussLegendre, steps).unwrap());
    for _ in 0..24 {
        let [coarse, fine] = rules.each_ref().map(|rule| runner.path(case, rule).values);
        let error: f64 = (&coarse - &fine).iter().map(|value| value.abs()).sum();
        if error <= 1e-9 * fine.iter().map(|value| value.abs()).sum::<f64>() {
            let tenth = (&case.x - &case.baseline) * 0.1;
            case.x -= &tenth;
            case.baseline += &tenth;
            return;
        }
        case.baseline = (&case.x + &case.baseline) * 0.5;
    }
    panic!("no path without a kink was found:\n{}", graph.text());
}

/// Of networks with kinks, over the whole path, the gap is bounded by the variation of the slope along it.
///
/// The points of a Gauss rule are separated by the partial sums of its weights (Chebyshev, Markov, Stieltjes), so the
/// rule is a Riemann sum whose error is at most its largest weight times the total variation of the integrand. The
/// variation is measured at 400 points, which may miss some: hence the factor of 2.
pub(crate) fn completeness_across_kinks(subject: &Subject) -> Result<(), String> {
    if subject.method.rules.compares() {
        return Ok(());
    }
    let mut failures = Vec::new();
    let mut checked = 0;
    for seed in 0..NETWORKS {
        let mut random = Random::new(500 + seed);
        let config = config(seed, Functions::Any);
        let graph = network(&mut random, &config);
        let case = Case::random(&mut random, &graph, config.classes);
        let found = attribute(subject, &graph, &case);
        if largest(&found.values) < NOTHING {
            continue;
        }
        checked += 1;
        let bound = 2.0 * heaviest(subject) * variation(subject, &graph, &case) + 1e-9 * total(&found);
        let gap = gap(&found);
        if gap.is_nan() || gap > bound {
            failures.push(format!("seed {seed}: the gap is {gap}, above {bound}"));
        }
    }
    tell("completeness across kinks", subject, &failures, checked)
}

/// The largest weight of a path method's rule.
fn heaviest(subject: &Subject) -> f64 {
    let Points::Path { quadrature, steps } = subject.method.points else { panic!("not a path method") };
    nodes(quadrature, steps).unwrap().weights.into_iter().fold(0.0, f64::max)
}

/// Total variation along the path of d score / d α, at 400 even positions.
fn variation(subject: &Subject, graph: &Graph, case: &Case) -> f64 {
    let difference = &case.x - &case.baseline;
    let points: Vec<ArrayD<f64>> =
        (0..=400).map(|i| &case.baseline + &(&difference * (f64::from(i) / 400.0))).collect();
    let slopes: Vec<f64> = Runner::new(graph, &subject.method)
        .at(&points, &case.target)
        .iter()
        .map(|(_, signal)| (signal * &difference).sum())
        .collect();
    slopes.windows(2).map(|pair| (pair[1] - pair[0]).abs()).sum()
}

/// The attribution of a·f + b·g is a times that of f plus b times that of g, within 1e-9 of the largest value.
pub(crate) fn linearity(subject: &Subject) -> Result<(), String> {
    let mut failures = Vec::new();
    let mut checked = 0;
    for seed in 0..NETWORKS {
        let mut random = Random::new(1000 + seed);
        let config = config(seed, Functions::Any);
        let f = network(&mut random, &config);
        let g = network(&mut random, &Config { sizes: sizes(&f), ..config.clone() });
        let (a, b) = (random.signed(0.5, 2.0), random.signed(0.5, 2.0));
        let case = Case::random(&mut random, &f, config.classes);
        let [of_f, of_g, of_sum] =
            [&f, &g, &combined(&f, &g, a, b)].map(|graph| attribute(subject, graph, &case).values);
        let expected = of_f * a + of_g * b;
        if largest(&expected) < NOTHING {
            continue;
        }
        checked += 1;
        let error = largest(&(&of_sum - &expected)) / largest(&expected);
        if error.is_nan() || error > 1e-9 {
            failures.push(format!("seed {seed}: {a}·f + {b}·g differs by {error} of the largest value"));
        }
    }
    tell("linearity", subject, &failures, checked)
}

/// a·f + b·g of one input.
fn combined(f: &Graph, g: &Graph, a: f64, b: f64) -> Graph {
    let builder = Builder::new(f.clone());
    let stands_for =
        builder.embed(g, &BTreeMap::from([(g.inputs()[0], f.inputs()[0])]), g.outputs()).unwrap();
    let y = builder.var(f.outputs()[0]) * a + builder.var(stands_for[g.outputs()[0].index()].unwrap()) * b;
    let y = y.id();
    let mut graph = builder.finish().unwrap();
    graph.set_outputs(vec![y]);
    graph
}

/// Two graphs of one function get the same attribution, within 1e-9 of the largest value: every rewrite, over every
/// network that it applies to.
pub(crate) fn implementation_invariance(subject: &Subject) -> Result<(), String> {
    let mut failures = Vec::new();
    let mut checked = 0;
    for seed in 0..NETWORKS {
        let mut random = Random::new(2000 + seed);
        let config = config(seed, Functions::Any);
        let graph = network(&mut random, &config);
        let case = Case::random(&mut random, &graph, config.classes);
        let expected = attribute(subject, &graph, &case).values;
        if largest(&expected) < NOTHING {
            continue;
        }
        for rewrite in REWRITES {
            let Some(rewritten) = (rewrite.apply)(&graph, &mut random) else { continue };
            checked += 1;
            let found = attribute(subject, &rewritten, &case).values;
            let error = largest(&(&found - &expected)) / largest(&expected);
            if error.is_nan() || error > 1e-9 {
                failures.push(format!("seed {seed}, {}: {error} of the largest value", rewrite.name));
            }
        }
    }
    tell("implementation invariance", subject, &failures, checked)
}

/// An input number that the score does not use gets exactly 0: a last column that is cut off, and one that is
/// multiplied by 0.
pub(crate) fn dummy(subject: &Subject) -> Result<(), String> {
    let mut failures = Vec::new();
    let mut checked = 0;
    for seed in 0..NETWORKS {
        let mut random = Random::new(3000 + seed);
        let config = config(seed, Functions::Any);
        let graph = network(&mut random, &config);
        for (form, graph) in [("cut off", cut(&graph)), ("times 0", masked(&graph))] {
            let case = Case::random(&mut random, &graph, config.classes);
            let values = attribute(subject, &graph, &case).values;
            if largest(&values) < NOTHING {
                continue;
            }
            checked += 1;
            let last = Axis(values.ndim() - 1);
            let column = values.index_axis(last, values.len_of(last) - 1);
            if column.iter().any(|value| value.is_nan() || value.abs() > 0.0) {
                failures.push(format!("seed {seed}, {form}: the unused column gets {column}"));
            }
        }
    }
    tell("dummy", subject, &failures, checked)
}

/// The network behind a Slice that takes away a last column more.
fn cut(graph: &Graph) -> Graph {
    let mut shape = graph.value(graph.inputs()[0]).shape.clone().unwrap();
    let axis = shape.len() - 1;
    let width = shape[axis].value().unwrap();
    shape[axis] = Dim::known(width + 1);
    let builder = Builder::new(Graph::new());
    let x = builder.input("x", ElementType::F64, shape);
    let taken = x.slice(axis, 0, width, 1).id();
    behind(builder, graph, taken)
}

/// The network behind a product that is 0 in the last column.
fn masked(graph: &Graph) -> Graph {
    let shape = graph.value(graph.inputs()[0]).shape.clone().unwrap();
    let width = shape.last().unwrap().size().unwrap();
    let mut mask = vec![1.0; width];
    mask[width - 1] = 0.0;
    let builder = Builder::new(Graph::new());
    let x = builder.input("x", ElementType::F64, shape);
    let taken = (x * builder.values(ElementType::F64, vec![width], &mask)).id();
    behind(builder, graph, taken)
}

fn behind(builder: Builder, graph: &Graph, taken: pellucid_graph::ValueId) -> Graph {
    let stands_for =
        builder.embed(graph, &BTreeMap::from([(graph.inputs()[0], taken)]), graph.outputs()).unwrap();
    let y = stands_for[graph.outputs()[0].index()].unwrap();
    let mut graph = builder.finish().unwrap();
    graph.set_outputs(vec![y]);
    graph
}
