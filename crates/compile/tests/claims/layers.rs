//! What is claimed at inner layers: sums at a layer that everything passes; directional derivatives against differences.

use pellucid_compile::{Points, Quadrature, Readout, Request, program};
use pellucid_testkit::random_graph::{Config, Functions, Random, network};

use crate::attribute::{Case, Subject, attribute, largest};

/// At the layer that a method picks, Σ values = score − baseline score of networks without kinks, by a Gauss-Legendre
/// rule of 64 points, within 1e-6 of Σ|values|; within 1e-3 where changes between its points are taken. Only of networks
/// in which everything passes that layer.
pub(crate) fn completeness(subject: &Subject) -> Result<(), String> {
    let mut failures = Vec::new();
    let mut checked = 0;
    let bound = if subject.method.readout == Readout::TimesChange { 1e-3 } else { 1e-6 };
    for seed in 0..48 {
        let mut random = Random::new(9000 + seed);
        let config = Config { functions: Functions::Smooth, softmax: false, ..Config::default() };
        let graph = network(&mut random, &config);
        let case = Case::random(&mut random, &graph, config.classes);
        match program(&graph, &subject.method, &Request::default()) {
            Ok(program) if program.separated => {}
            _ => continue,
        }
        let found = attribute(subject, &graph, &case);
        if largest(&found.values) < 1e-9 {
            continue;
        }
        checked += 1;
        let size: f64 = found.values.iter().map(|value| value.abs()).sum();
        let gap = (found.score - found.baseline_score - found.values.sum()).abs();
        if gap.is_nan() || gap > bound * size {
            failures.push(format!("seed {seed}: the gap is {gap} of {size}"));
        }
    }
    assert!(checked >= 10, "{} was checked {checked} times only", subject.name);
    if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
}

/// Conductance is the derivative of what flows through the layer, so a short path of one point gives the layer's own
/// change times the derivative there: checked against the layer's values at both ends of the path.
#[test]
fn directions_are_differences_of_short_paths() {
    let mut checked = 0;
    for seed in 0..24 {
        let mut random = Random::new(9500 + seed);
        let config = Config { functions: Functions::Any, softmax: false, ..Config::default() };
        let graph = network(&mut random, &config);
        let mut case = Case::random(&mut random, &graph, config.classes);
        case.baseline = &case.x + &((&case.baseline - &case.x) * 1e-6);
        let conductance = Subject::named("conductance").with_method(|method| {
            method.points = Points::Path { quadrature: Quadrature::GaussLegendre, steps: 1 };
            method.readout = Readout::TimesTangent;
        });
        if program(&graph, &conductance.method, &Request::default()).is_err() {
            continue;
        }
        let read = |readout, at: &ndarray::ArrayD<f64>| {
            let subject = Subject::named("conductance").with_method(|method| {
                method.points = Points::Once;
                method.readout = readout;
            });
            attribute(&subject, &graph, &Case { x: at.clone(), ..case.clone() }).values
        };
        let middle = (&case.x + &case.baseline) * 0.5;
        let signal = read(Readout::Signal, &middle);
        let value = |at| read(Readout::Value, at);
        let expected = (value(&case.x) - value(&case.baseline)) * signal;
        let found = attribute(&conductance, &graph, &case).values;
        let most = largest(&expected);
        // Where a kink lies between, neither is the other.
        if most < 1e-9 {
            continue;
        }
        checked += 1;
        let error = largest(&(&found - &expected));
        assert!(error < 1e-4 * most, "seed {seed}: {error} of {most}\n{}", graph.text());
    }
    assert!(checked >= 10, "only {checked} networks were checked");
}
