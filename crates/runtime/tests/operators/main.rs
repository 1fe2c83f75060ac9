//! Every operator that the engine is used for, in several forms each, against the interpreter.
//!
//! A case is one node. It runs with its sizes in the graph and again with every size free, so that lowering at the
//! first run is covered too. All failures are listed, not the first alone.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod case;
mod elementwise;
#[path = "../engines/mod.rs"]
mod engines;
mod layout;
mod reductions;
mod spatial;

use std::collections::BTreeSet;

use case::{Case, compare};

fn cases() -> Vec<Case> {
    [elementwise::cases(), layout::cases(), reductions::cases(), spatial::cases()].concat()
}

#[test]
fn every_operator_agrees_with_the_interpreter() {
    let mut failures = Vec::new();
    let mut checked = 0;
    let cases = cases();
    let only = std::env::var("CASE").ok();
    for engine in engines::tested() {
        for case in &cases {
            if only.as_ref().is_some_and(|only| !case.operator.contains(only.as_str())) {
                continue;
            }
            for free in [false, true] {
                checked += 1;
                if let Err(failure) = case.check(engine, free) {
                    let sizes = if free { "sizes free" } else { "sizes known" };
                    failures.push(format!("{} {case} ({sizes}): {failure}", engine.name()));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{} of {checked}:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_operator_of_the_table_has_cases() {
    let covered: BTreeSet<&str> = cases().iter().map(|case| case.operator).collect();
    // Bodies do not fit in one node's case: the session's tests run them.
    let elsewhere = ["If", "Loop"];
    let missing: Vec<&str> = pellucid_graph::operators::all()
        .iter()
        .map(|operator| operator.name)
        .filter(|name| !covered.contains(name) && !elsewhere.contains(name))
        .collect();
    assert!(missing.is_empty(), "no case for {}", missing.join(", "));
}

/// The comparison must fail where the lowering is wrong: here the interpreter computes another node than the engine.
#[test]
fn a_wrong_lowering_is_caught() {
    use case::In::F;
    let pairs = [
        (Case::new("Elu", vec![F(&[4, 5])]), Case::new("LeakyRelu", vec![F(&[4, 5])])),
        (Case::new("Gelu", vec![F(&[64])]), Case::new("Gelu", vec![F(&[64])]).text("approximate", "tanh")),
        (
            Case::new("AveragePool", vec![F(&[1, 2, 5, 5])])
                .ints("kernel_shape", &[3, 3])
                .ints("pads", &[1, 1, 1, 1]),
            Case::new("AveragePool", vec![F(&[1, 2, 5, 5])])
                .ints("kernel_shape", &[3, 3])
                .ints("pads", &[1, 1, 1, 1])
                .int("count_include_pad", 1),
        ),
    ];
    for engine in engines::tested() {
        for (right, wrong) in &pairs {
            let computed = right.run(engine, false).unwrap();
            assert!(compare(&computed, &right.run_reference().unwrap(), right.tolerance).is_ok(), "{right}");
            assert!(compare(&computed, &wrong.run_reference().unwrap(), right.tolerance).is_err(), "{wrong}");
        }
    }
}
