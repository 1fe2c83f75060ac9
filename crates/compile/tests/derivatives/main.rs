//! Every operator's derivative against central differences of the same graph in the f64 interpreter: first and second
//! order, for every differentiable input, weights included; declared zeros too.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod cases;
mod check;
mod differences;
mod straight_through;

use pellucid_compile::ops;

use check::{Case, Fault, check};

/// Largest error, relative to the largest of 1 and the derivative along the direction.
const TOLERANCE: f64 = 1e-9;

#[test]
fn every_derivative_equals_central_differences() {
    let failures: Vec<String> =
        cases::all().iter().filter_map(|case| check(case, Fault::None, TOLERANCE).err()).collect();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_operator_has_a_case() {
    let cases = cases::all();
    let missing: Vec<&str> = ops::all()
        .iter()
        .map(|operator| operator.name)
        .filter(|name| !straight_through::OPERATORS.contains(name))
        .filter(|name| !cases.iter().any(|case| case.operator == *name))
        .collect();
    assert!(missing.is_empty(), "no case for {}", missing.join(", "));
}

#[test]
fn every_emitted_operator_is_in_the_table() {
    let mut strangers = std::collections::BTreeSet::new();
    for case in cases::all() {
        for operator in check::emitted(&case) {
            if ops::lookup(&operator).is_none() {
                strangers.insert(format!("{operator} (by {})", case.operator));
            }
        }
    }
    assert!(strangers.is_empty(), "without a derivative: {strangers:?}");
}

/// The checker must be able to fail: a derivative scaled by 1.000001, and one of the wrong sign, are caught.
#[test]
fn sabotaged_derivatives_are_caught() {
    for fault in [Fault::Scaled(1.000_001), Fault::Scaled(-1.0), Fault::Missing] {
        let all = cases::all();
        let uncaught: Vec<&Case> =
            all.iter().filter(|case| !case.flat && check(case, fault, TOLERANCE).is_ok()).collect();
        assert!(uncaught.is_empty(), "{fault:?} is not caught by {uncaught:?}");
    }
}
