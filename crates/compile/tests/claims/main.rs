//! What the registry's methods claim, as properties over random networks in the `f64` interpreter; and that each
//! checker catches methods that do not keep their word.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod artefacts;
mod attribute;
mod check;
mod conservation;
mod deeplift;
mod factors;
mod layers;
mod maps;

mod snapshots;

use pellucid_compile::methods::{ALL, Claim, find_compiled};
use pellucid_compile::rules::{Gradient, Rule, RuleMap, When};
use pellucid_compile::step::{Signals, Step};
use pellucid_compile::{CompileError, Form, Kind, Readout, Seed, Var};

use attribute::{Fault, Subject};

type Checker = fn(&Subject) -> Result<(), String>;

/// The checkers of a claim.
fn checkers(claim: Claim) -> Vec<Checker> {
    match claim {
        Claim::Completeness => vec![check::completeness, check::completeness_across_kinks],
        Claim::ExpectedCompleteness => vec![check::expected_completeness],
        Claim::Linearity => vec![check::linearity],
        Claim::ImplementationInvariance => vec![check::implementation_invariance],
        Claim::Dummy => vec![check::dummy],
        Claim::Conservation => vec![conservation::conservation],
        Claim::FullCompleteness => vec![maps::full_completeness],
        Claim::LayerCompleteness => vec![layers::completeness],
    }
}

/// Every method keeps this claim, if it makes it.
fn holds(claim: Claim) {
    for subject in Subject::all_that_claim(claim) {
        for checker in checkers(claim) {
            if let Err(problem) = checker(&subject) {
                panic!("{problem}");
            }
        }
    }
}

#[test]
fn values_sum_to_the_difference_of_scores() {
    holds(Claim::Completeness);
}

#[test]
fn values_sum_to_the_difference_of_scores_in_expectation() {
    holds(Claim::ExpectedCompleteness);
}

#[test]
fn attributions_are_linear_in_the_model() {
    holds(Claim::Linearity);
}

#[test]
fn attributions_depend_on_the_function_alone() {
    holds(Claim::ImplementationInvariance);
}

#[test]
fn unused_inputs_get_nothing() {
    holds(Claim::Dummy);
}

#[test]
fn relevance_is_conserved_without_biases() {
    holds(Claim::Conservation);
}

#[test]
fn lost_and_made_relevance_is_caught() {
    let honest = Subject::named("lrp-epsilon");
    // Rectifiers that pass 1 % too much; residual sums that give both branches all; a rule that does not conserve.
    let rectifiers = RuleMap::at_rectifiers(TooMuch).choices()[..1].to_vec();
    let sums = RuleMap::GRADIENT.with(When::Kind(Kind::Linear(Form::Sum)), Gradient).choices().to_vec();
    for choices in [rectifiers, sums] {
        let rules = honest.method.rules.clone().before(choices);
        is_caught(Claim::Conservation, &honest.clone().with_method(|method| method.rules = rules));
    }
    is_caught(Claim::Conservation, &Subject::named("lrp-z-plus"));
    is_caught(
        Claim::Conservation,
        &Subject::named("gradient").with_method(|method| method.seed = Seed::Score),
    );
}

#[test]
fn every_bias_has_its_term() {
    holds(Claim::FullCompleteness);
}

#[test]
fn values_at_a_layer_sum_to_the_difference_of_scores() {
    holds(Claim::LayerCompleteness);
}

#[test]
fn a_layer_that_gets_too_much_is_caught() {
    let honest = Subject::named("conductance");
    let derivative = honest.clone().with_method(|method| method.readout = Readout::TimesTangent);
    layers::completeness(&derivative).unwrap();
    is_caught(Claim::LayerCompleteness, &derivative.with_fault(Fault::Weights(0.99)));
    is_caught(Claim::LayerCompleteness, &honest.clone().with_fault(Fault::Added(1e-2)));
    is_caught(Claim::LayerCompleteness, &honest.with_method(|method| method.readout = Readout::Signal));
}

#[test]
fn a_lost_term_is_caught() {
    is_caught(Claim::FullCompleteness, &too_much("full-grad"));
}

/// The derivative, but rectifiers pass 1 % too much.
#[derive(Debug)]
struct TooMuch;

impl Rule for TooMuch {
    fn name(&self) -> &'static str {
        "too-much"
    }

    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>, CompileError> {
        let signals = step.vjp()?;
        Ok(signals.into_iter().map(|signal| signal.map(|signal: Var<'g>| signal * 1.01)).collect())
    }
}

/// A subject that must not pass the checkers of a claim that it pretends to make.
fn is_caught(claim: Claim, subject: &Subject) {
    let caught = checkers(claim).iter().any(|checker| checker(subject).is_err());
    assert!(caught, "{} with {:?} passes for {}", subject.name, subject.fault, claim.name());
}

fn too_much(name: &str) -> Subject {
    Subject::named(name).with_method(|method| method.rules = RuleMap::at_rectifiers(TooMuch))
}

#[test]
fn a_method_that_is_not_complete_is_caught() {
    let honest = Subject::named("integrated-gradients");
    is_caught(Claim::Completeness, &too_much("integrated-gradients"));
    is_caught(Claim::Completeness, &honest.clone().with_fault(Fault::Weights(0.98)));
    is_caught(Claim::Completeness, &honest.clone().with_fault(Fault::Added(1e-3)));
    let guided = Subject::named("guided-backprop").method.rules;
    is_caught(Claim::Completeness, &honest.clone().with_method(|method| method.rules = guided));
}

#[test]
fn weights_that_do_not_sum_to_one_are_caught_across_kinks() {
    let sabotaged = Subject::named("integrated-gradients").with_fault(Fault::Weights(0.5));
    assert!(check::completeness_across_kinks(&sabotaged).is_err());
}

#[test]
fn a_method_that_is_not_complete_in_expectation_is_caught() {
    let honest = Subject::named("expected-gradients");
    is_caught(Claim::ExpectedCompleteness, &too_much("expected-gradients").with_fault(Fault::Weights(0.9)));
    is_caught(Claim::ExpectedCompleteness, &honest.clone().with_fault(Fault::Added(0.1)));
    let guided = Subject::named("guided-backprop").method.rules;
    is_caught(Claim::ExpectedCompleteness, &honest.clone().with_method(|method| method.rules = guided));
}

/// What wraps a method keeps the claims of what it then is: the gradient over a path is integrated gradients.
#[test]
fn wrapped_gradients_keep_the_claims_of_the_methods_they_are() {
    let gradient = find_compiled("gradient").unwrap();
    let path =
        Subject::wrapped(gradient, &[("points", "path"), ("quadrature", "gauss-legendre"), ("steps", "64")]);
    assert_eq!(path.method.points, Subject::named("integrated-gradients").method.points);
    check::completeness(&path).unwrap();
    let smooth = Subject::wrapped(gradient, &[("points", "smooth"), ("samples", "3")]);
    for subject in [path, smooth] {
        check::linearity(&subject).unwrap();
        check::dummy(&subject).unwrap();
    }
}

#[test]
fn a_method_that_is_not_linear_is_caught() {
    is_caught(Claim::Linearity, &Subject::named("guided-backprop"));
    is_caught(Claim::Linearity, &Subject::named("deconvnet"));
    is_caught(Claim::Linearity, &Subject::named("gradient").with_fault(Fault::Added(1e-3)));
}

#[test]
fn a_method_that_sees_the_implementation_is_caught() {
    is_caught(Claim::ImplementationInvariance, &Subject::named("guided-backprop"));
    is_caught(Claim::ImplementationInvariance, &Subject::named("deconvnet"));
    for name in ["gradient", "input-x-gradient", "integrated-gradients", "smoothgrad"] {
        is_caught(Claim::ImplementationInvariance, &too_much(name));
    }
}

#[test]
fn a_method_that_gives_to_unused_inputs_is_caught() {
    for name in ["gradient", "integrated-gradients", "smoothgrad"] {
        let honest = Subject::named(name);
        is_caught(Claim::Dummy, &honest.clone().with_fault(Fault::Added(1e-12)));
        is_caught(Claim::Dummy, &honest.clone().with_fault(Fault::Blurred));
    }
}

/// A claim that no method makes would be checked by nobody.
#[test]
fn every_claim_is_made() {
    let claims = [
        Claim::Completeness,
        Claim::ExpectedCompleteness,
        Claim::Linearity,
        Claim::ImplementationInvariance,
        Claim::Dummy,
    ];
    for claim in claims {
        assert!(ALL.iter().any(|definition| definition.claims.contains(&claim)), "{}", claim.name());
    }
}
