//! Integrated gradients.

use super::{Claim, Definition, Form, Parameter, ParameterKind, Source};
use crate::method::{Method, Points, Quadrature};
use crate::readout::Readout;

pub(super) const DEFINITION: Definition = Definition {
    name: "integrated-gradients",
    summary: "How much each input number adds to the score on the straight way from a baseline to the input",
    formula: "A = (x − b) · ∫₀¹ ∂f(b + α·(x − b))/∂x dα",
    conventions: "",
    source: Source {
        authors: "M. Sundararajan, A. Taly, Q. Yan",
        year: 2017,
        title: "Axiomatic Attribution for Deep Networks",
        id: "arXiv:1703.01365",
    },
    parameters: &[
        Parameter {
            name: "quadrature",
            summary: "how points are placed on the path; adaptive adds points where the path needs them, on the host only",
            kind: ParameterKind::Choice(&["adaptive", "gauss-legendre", "trapezoid"]),
            default: "adaptive",
        },
        Parameter {
            name: "steps",
            summary: "points on the path; for adaptive quadrature the most that are spent",
            kind: ParameterKind::Integer { min: 2, max: 100_000 },
            default: "512",
        },
        Parameter {
            name: "tolerance",
            summary: "adaptive quadrature ends when the gap is below this share of the score's difference, and the \
                      quadrature error below this share of Σ|values|",
            kind: ParameterKind::Number { min: 1e-9, max: 1.0 },
            default: "0.05",
        },
        Parameter {
            name: "chunk",
            summary: "in a compiled artefact: points that run as one batch",
            kind: ParameterKind::Integer { min: 1, max: 4096 },
            default: "1",
        },
    ],
    claims: &[Claim::Completeness, Claim::Linearity, Claim::ImplementationInvariance, Claim::Dummy],
    cost: "one forward and backward a point; adaptive quadrature says how many it took",
    signed: true,
    baseline: true,
    layer: false,
    form: Form::Compiled(|settings| {
        let quadrature = match settings.text("quadrature") {
            Some("trapezoid") => Quadrature::Trapezoid,
            Some("gauss-legendre") => Quadrature::GaussLegendre,
            _ => Quadrature::Adaptive { tolerance: settings.number("tolerance") },
        };
        // Fixed rules without a number of steps take what the literature's tools take.
        let fixed = !matches!(quadrature, Quadrature::Adaptive { .. });
        let steps = if fixed && !settings.is_given("steps") { 50 } else { settings.integer("steps") };
        Ok(Method {
            points: Points::Path { quadrature, steps },
            readout: Readout::TimesDifference,
            ..Method::GRADIENT
        })
    }),
};
