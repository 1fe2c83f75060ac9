//! Rules and kinds by name: what a file of rules says. Not a rule.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{
    AlphaBeta, Bound, Epsilon, Flat, Gamma, Gate, Gradient, Norm, Pass, Rule, WSquare, When, ZBox, ZPlus,
};
use crate::kind::{Form, Kind, Role};
use crate::suggest::nearest;

/// Names of the rules that a file may use, and the parameters that each takes besides `stabilizer`.
const RULES: &[(&str, &[&str])] = &[
    ("alpha-beta", &["alpha", "beta"]),
    ("epsilon", &["epsilon"]),
    ("flat", &[]),
    ("gamma", &["gamma"]),
    ("gate", &[]),
    ("gradient", &[]),
    ("norm", &[]),
    ("pass", &[]),
    ("w-square", &[]),
    ("z-box", &["low", "high"]),
    ("z-plus", &[]),
];

/// Names of kinds, and when each applies.
fn kinds() -> Vec<(&'static str, When)> {
    let linear = |form| When::Kind(Kind::Linear(form));
    let elementwise = |role| When::Kind(Kind::Elementwise(role));
    vec![
        ("bilinear", When::Kind(Kind::Bilinear)),
        ("convolution", linear(Form::Convolution)),
        ("dense", linear(Form::Dense)),
        ("difference", linear(Form::Difference)),
        ("elementwise", When::Elementwise),
        ("flat", When::Kind(Kind::Flat)),
        ("gate", elementwise(Role::Gate)),
        ("layer", When::Layer),
        ("linear", When::Linear),
        ("move", When::Kind(Kind::Move)),
        ("normaliser", When::Kind(Kind::Normaliser)),
        ("pooling", linear(Form::Pool)),
        ("quotient", When::Kind(Kind::Quotient)),
        ("rectifier", elementwise(Role::Rectifier)),
        ("saturating", elementwise(Role::Saturating)),
        ("scale", linear(Form::Scale)),
        ("select", When::Kind(Kind::Select)),
        ("sum", linear(Form::Sum)),
        ("weights", When::Kind(Kind::Weights)),
    ]
}

/// Names of the rules that a file may use, and the parameters that each takes besides `stabilizer`.
pub fn rule_names() -> &'static [(&'static str, &'static [&'static str])] {
    RULES
}

/// Names of the kinds of nodes that a file of rules may say.
pub fn kind_names() -> Vec<&'static str> {
    kinds().into_iter().map(|(name, _)| name).collect()
}

/// When a node is of the kind named `name`.
///
/// # Errors
/// Unknown names: what was found, and what is known.
pub fn kind_named(name: &str) -> Result<When, String> {
    let kinds = kinds();
    match kinds.iter().find(|(known, _)| *known == name) {
        Some((_, when)) => Ok(when.clone()),
        None => Err(unknown("kind", name, kinds.iter().map(|(known, _)| *known))),
    }
}

fn unknown<'a>(what: &str, found: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let meant = nearest(found, known.clone())
        .map_or_else(|| ";".to_owned(), |name| format!("; did you mean {name:?}?"));
    format!("{what} {found:?} is not known{meant} expected one of {}", known.collect::<Vec<_>>().join(", "))
}

/// The rule named `name` with `parameters`; those left out have the defaults of the methods.
///
/// # Errors
/// Unknown rules and parameters, numbers out of range: what was found, and what was expected.
pub fn rule_named(name: &str, parameters: &BTreeMap<String, Vec<f64>>) -> Result<Arc<dyn Rule>, String> {
    let Some((_, own)) = RULES.iter().find(|(known, _)| *known == name) else {
        return Err(unknown("rule", name, RULES.iter().map(|(known, _)| *known)));
    };
    let takes = own.iter().copied().chain(["stabilizer"]);
    if let Some(key) = parameters.keys().find(|key| !takes.clone().any(|own| own == key.as_str())) {
        return Err(unknown(&format!("parameter of {name}"), key, takes));
    }
    let number = |key: &str, default: f64, least: f64| match parameters.get(key).map(Vec::as_slice) {
        None => Ok(default),
        Some([value]) if value.is_finite() && *value >= least => Ok(*value),
        Some(found) => Err(format!("{key} is {found:?}: expected a number of at least {least}")),
    };
    let stabilizer = number("stabilizer", 1e-6, 1e-12)?;
    let bound = |key: &str| parameters.get(key).map_or(Bound::OfRow, |numbers| Bound::Given(numbers.clone()));
    Ok(match name {
        "alpha-beta" => {
            let (alpha, beta) = (number("alpha", 2.0, 1.0)?, number("beta", 1.0, 0.0)?);
            let (alpha, beta) = match (parameters.contains_key("alpha"), parameters.contains_key("beta")) {
                (true, false) => (alpha, alpha - 1.0),
                (false, true) => (beta + 1.0, beta),
                _ => (alpha, beta),
            };
            if (alpha - beta - 1.0).abs() > 1e-9 {
                return Err(format!("alpha is {alpha} and beta {beta}: expected alpha − beta = 1"));
            }
            Arc::new(AlphaBeta { alpha, beta, stabilizer })
        }
        "epsilon" => Arc::new(Epsilon { epsilon: number("epsilon", 1e-6, 1e-12)? }),
        "flat" => Arc::new(Flat { stabilizer }),
        "gamma" => Arc::new(Gamma { gamma: number("gamma", 0.25, 0.0)?, stabilizer }),
        "gate" => Arc::new(Gate { stabilizer }),
        "norm" => Arc::new(Norm { stabilizer }),
        "pass" => Arc::new(Pass { stabilizer }),
        "w-square" => Arc::new(WSquare { stabilizer }),
        "z-box" => Arc::new(ZBox { low: bound("low"), high: bound("high"), stabilizer }),
        "z-plus" => Arc::new(ZPlus { stabilizer }),
        _ => Arc::new(Gradient),
    })
}
