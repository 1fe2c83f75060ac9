//! The registry's vocabulary, and every method that compiles. One file a method.
//!
//! A method is data: name, summary, source, parameters, claims, cost, and how to build it. Command line,
//! documentation, server, Python and property tests all read this registry.

mod conductance;
mod deconvnet;
mod deep_shap;
mod deeplift;
mod excitation_backprop;
mod expected_gradients;
mod full_grad;
mod grad_cam;
mod grad_cam_plus_plus;
mod gradient;
mod gradient_shap;
mod guided_backprop;
mod guided_grad_cam;
mod hires_cam;
mod input_x_gradient;
mod integrated_gradients;
mod internal_influence;
mod layer_cam;
mod lrp;
mod lrp_alpha_beta;
mod lrp_epsilon;
mod lrp_epsilon_alpha2_beta1;
mod lrp_epsilon_alpha2_beta1_flat;
mod lrp_epsilon_gamma_box;
mod lrp_epsilon_plus;
mod lrp_epsilon_plus_flat;
mod lrp_gamma;
mod lrp_z_plus;
mod points;
mod smoothgrad;
mod squaregrad;
mod vargrad;
mod xgrad_cam;

use std::collections::BTreeMap;

pub use points::COMMON;

use crate::error::{CompileError, Result};
use crate::method::Method;
use crate::rules::Choice;
use crate::suggest::nearest;

/// Where a method comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    /// Authors.
    pub authors: &'static str,
    /// Year of publication.
    pub year: u16,
    /// Title.
    pub title: &'static str,
    /// arXiv number or DOI.
    pub id: &'static str,
}

/// An axiom that a method satisfies, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// Σ values = score − baseline score, up to the quadrature error.
    Completeness,
    /// The same in expectation over what is drawn: the gap is a few of its standard errors.
    ExpectedCompleteness,
    /// The attribution of a·f + b·g is a times that of f plus b times that of g.
    Linearity,
    /// Two graphs that compute the same function get the same attribution.
    ImplementationInvariance,
    /// An input that the score does not depend on gets 0.
    Dummy,
    /// On networks of linear, rectifier, sum, concat and pooling operators without biases: Σ values = score as
    /// stabilisers vanish.
    Conservation,
    /// Input-gradient × input and the terms of every bias sum to the score.
    FullCompleteness,
    /// At a layer that everything passes, Σ values = score − baseline score, up to the quadrature error.
    LayerCompleteness,
}

impl Claim {
    /// Name, in kebab-case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completeness => "completeness",
            Self::ExpectedCompleteness => "completeness-in-expectation",
            Self::Linearity => "linearity",
            Self::ImplementationInvariance => "implementation-invariance",
            Self::Dummy => "dummy",
            Self::Conservation => "conservation-without-biases",
            Self::FullCompleteness => "full-completeness",
            Self::LayerCompleteness => "completeness-at-a-layer",
        }
    }
}

/// What a parameter may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ParameterKind {
    /// A whole number in a range.
    Integer {
        /// Smallest.
        min: u32,
        /// Largest.
        max: u32,
    },
    /// A number in a range.
    Number {
        /// Smallest.
        min: f64,
        /// Largest.
        max: f64,
    },
    /// One of some words.
    Choice(&'static [&'static str]),
    /// Whole numbers separated by `x`, such as `32x32`; one number stands for every axis.
    Sizes,
    /// Numbers separated by commas, or one of some words.
    Numbers(&'static [&'static str]),
    /// Free text.
    Text,
}

/// A parameter of a method.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameter {
    /// Key.
    pub name: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// What it may be.
    pub kind: ParameterKind,
    /// Value where none is given; empty where there is none.
    pub default: &'static str,
}

/// How a method runs.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// As one graph.
    Compiled(fn(&Settings) -> Result<Method>),
    /// By evaluating the model many times from outside.
    Host,
}

/// A method of the registry.
#[derive(Debug, Clone, Copy)]
pub struct Definition {
    /// Name, the literature's, in kebab-case.
    pub name: &'static str,
    /// What it computes, in one sentence.
    pub summary: &'static str,
    /// Formula, in plain text.
    pub formula: &'static str,
    /// What is cut off, scaled and resized here, and where other programs differ; empty where there is nothing to say.
    pub conventions: &'static str,
    /// Where it comes from.
    pub source: Source,
    /// Parameters.
    pub parameters: &'static [Parameter],
    /// Axioms it satisfies.
    pub claims: &'static [Claim],
    /// Cost in model evaluations, in words.
    pub cost: &'static str,
    /// Whether values are signed.
    pub signed: bool,
    /// Whether it compares the input with a baseline.
    pub baseline: bool,
    /// Whether it looks at an inner layer.
    pub layer: bool,
    /// How it runs.
    pub form: Form,
}

impl Definition {
    /// The compiled method that `settings` ask for, wrapped in the points that they ask for; `None` for methods that
    /// run on the host.
    ///
    /// # Errors
    /// Settings that contradict each other.
    pub fn method(&self, settings: &Settings) -> Result<Option<Method>> {
        match self.form {
            Form::Compiled(build) => points::wrap(self, settings, build(settings)?).map(Some),
            Form::Host => Ok(None),
        }
    }

    /// Keys of [`COMMON`] that it takes besides its own parameters.
    pub fn common(&self) -> impl Iterator<Item = &'static Parameter> {
        points::common(self)
    }

    /// Whether it draws from a background.
    pub fn background(&self) -> bool {
        let method = Settings::new(self, &[]).and_then(|settings| self.method(&settings));
        method.is_ok_and(|method| method.is_some_and(|method| method.points.has_background()))
    }
}

/// The compiled method named `name`.
pub fn find_compiled(name: &str) -> Option<&'static Definition> {
    ALL.iter().copied().find(|definition| definition.name == name)
}

/// Every compiled method, sorted by name.
pub const ALL: &[&Definition] = &[
    &conductance::DEFINITION,
    &deconvnet::DEFINITION,
    &deep_shap::DEFINITION,
    &deeplift::DEFINITION,
    &excitation_backprop::DEFINITION,
    &expected_gradients::DEFINITION,
    &full_grad::DEFINITION,
    &grad_cam::DEFINITION,
    &grad_cam_plus_plus::DEFINITION,
    &gradient::DEFINITION,
    &gradient_shap::DEFINITION,
    &guided_backprop::DEFINITION,
    &guided_grad_cam::DEFINITION,
    &hires_cam::DEFINITION,
    &input_x_gradient::DEFINITION,
    &integrated_gradients::DEFINITION,
    &internal_influence::DEFINITION,
    &layer_cam::DEFINITION,
    &lrp_alpha_beta::DEFINITION,
    &lrp_epsilon::DEFINITION,
    &lrp_epsilon_alpha2_beta1::DEFINITION,
    &lrp_epsilon_alpha2_beta1_flat::DEFINITION,
    &lrp_epsilon_gamma_box::DEFINITION,
    &lrp_epsilon_plus::DEFINITION,
    &lrp_epsilon_plus_flat::DEFINITION,
    &lrp_gamma::DEFINITION,
    &lrp_z_plus::DEFINITION,
    &smoothgrad::DEFINITION,
    &squaregrad::DEFINITION,
    &vargrad::DEFINITION,
    &xgrad_cam::DEFINITION,
];

/// The values of a method's parameters, checked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settings {
    values: BTreeMap<String, String>,
    given: Vec<String>,
    rules: Vec<Choice>,
}

impl Settings {
    /// Checks `given` against `definition` and fills in defaults.
    pub fn new(definition: &Definition, given: &[(String, String)]) -> Result<Self> {
        let mut settings = Self::default();
        for parameter in definition.parameters {
            settings.fill(parameter);
        }
        for (key, value) in given {
            let mut known = definition.parameters.iter().chain(points::common(definition));
            let Some(parameter) = known.find(|parameter| parameter.name == key) else {
                return Err(CompileError::Setting(unknown_key(definition, key)));
            };
            if settings.given.contains(key) {
                return Err(CompileError::Setting(format!("key {key:?} is set twice: set it once")));
            }
            check(parameter, value)?;
            settings.values.insert(key.clone(), value.clone());
            settings.given.push(key.clone());
        }
        points::settle(definition, &mut settings)?;
        Ok(settings)
    }

    /// Puts a parameter's default where it has no value yet.
    fn fill(&mut self, parameter: &Parameter) {
        if !parameter.default.is_empty() {
            self.values.entry(parameter.name.to_owned()).or_insert_with(|| parameter.default.to_owned());
        }
    }

    /// Every key and value, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// Whether the caller set a key.
    pub fn is_given(&self, key: &str) -> bool {
        self.given.iter().any(|given| given == key)
    }

    /// The choices of rules that come before the method's own: those of the file that `rules` names, once it is read.
    pub fn rules(&self) -> &[Choice] {
        &self.rules
    }

    /// Puts choices of rules before the method's own.
    pub fn choose_rules(&mut self, rules: Vec<Choice>) {
        self.rules = rules;
    }

    /// Puts a value in place of a default, as if the caller had set it.
    pub fn choose(&mut self, key: &str, value: &str) {
        self.values.insert(key.to_owned(), value.to_owned());
        if !self.is_given(key) {
            self.given.push(key.to_owned());
        }
    }

    /// A value as it is written.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// A whole number; 0 where the key has no value.
    pub fn integer(&self, key: &str) -> usize {
        self.text(key).and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    /// A number; 0 where the key has no value.
    pub fn number(&self, key: &str) -> f64 {
        self.text(key).and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    /// Sizes written as `32x32`; empty where the key has no value.
    pub fn sizes(&self, key: &str) -> Vec<usize> {
        self.text(key)
            .map(|value| value.split('x').filter_map(|part| part.parse().ok()).collect())
            .unwrap_or_default()
    }
}

fn unknown_key(definition: &Definition, key: &str) -> String {
    let known = definition.parameters.iter().chain(points::common(definition));
    let names: Vec<&str> = known.map(|parameter| parameter.name).collect();
    if names.is_empty() {
        return format!("{} has no key {key:?}; it takes none", definition.name);
    }
    let meant = nearest(key, names.iter().copied())
        .map_or_else(|| ";".to_owned(), |name| format!("; did you mean {name:?}?"));
    format!("{} has no key {key:?}{meant} it takes: {}", definition.name, names.join(", "))
}

fn check(parameter: &Parameter, value: &str) -> Result<()> {
    let name = parameter.name;
    let wrong = |expected: String| Err(CompileError::Setting(format!("{name}={value}: expected {expected}")));
    match parameter.kind {
        ParameterKind::Integer { min, max } => match value.parse::<u32>() {
            Ok(number) if (min..=max).contains(&number) => Ok(()),
            _ => wrong(format!("a whole number from {min} to {max}")),
        },
        ParameterKind::Number { min, max } => match value.parse::<f64>() {
            Ok(number) if number >= min && number <= max => Ok(()),
            _ => wrong(format!("a number from {min} to {max}")),
        },
        ParameterKind::Choice(words) => {
            if words.contains(&value) {
                return Ok(());
            }
            let meant = nearest(value, words.iter().copied())
                .map_or_else(String::new, |word| format!("; did you mean {word:?}?"));
            wrong(format!("one of {}{meant}", words.join(", ")))
        }
        ParameterKind::Sizes => {
            let parts: Vec<Option<u32>> = value.split('x').map(|part| part.parse().ok()).collect();
            if parts.iter().all(|part| part.is_some_and(|size| size > 0)) {
                Ok(())
            } else {
                wrong("sizes above 0 joined by x, such as 32 or 32x32".to_owned())
            }
        }
        ParameterKind::Numbers(words) => {
            let finite = |part: &str| part.trim().parse::<f64>().is_ok_and(f64::is_finite);
            if words.contains(&value) || value.split(',').all(finite) {
                return Ok(());
            }
            wrong(format!("numbers separated by commas, or {}", words.join(" or ")))
        }
        ParameterKind::Text => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_is_sorted_and_documented() {
        assert!(ALL.windows(2).all(|pair| pair[0].name < pair[1].name));
        for definition in ALL {
            assert!(
                definition.name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            );
            assert!(definition.summary.len() > 20 && definition.source.year > 1980, "{}", definition.name);
            let settings = Settings::new(definition, &[]).unwrap();
            for parameter in definition.parameters.iter().filter(|parameter| !parameter.default.is_empty()) {
                check(parameter, parameter.default).unwrap();
                assert!(settings.text(parameter.name).is_some());
            }
        }
    }

    #[test]
    fn messages_name_what_is_valid() {
        let set = |key: &str, value: &str| {
            Settings::new(&integrated_gradients::DEFINITION, &[(key.to_owned(), value.to_owned())])
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            set("stps", "3"),
            "integrated-gradients has no key \"stps\"; did you mean \"steps\"? it takes: quadrature, steps, tolerance, chunk, points, samples, noise"
        );
        assert_eq!(
            set("zzz", "3"),
            "integrated-gradients has no key \"zzz\"; it takes: quadrature, steps, tolerance, chunk, points, samples, noise"
        );
        assert_eq!(set("steps", "many"), "steps=many: expected a whole number from 2 to 100000");
        assert_eq!(
            set("quadrature", "gaus-legendre"),
            "quadrature=gaus-legendre: expected one of adaptive, gauss-legendre, trapezoid; did you mean \"gauss-legendre\"?"
        );
    }
}
