//! Keys that every compiled method takes: where the model is evaluated. Not a method: what any method is wrapped in.

use super::{Definition, Form, Parameter, ParameterKind, Settings};
use crate::error::{CompileError, Result};
use crate::method::{Method, Points, Quadrature};

/// The key that wraps a method in points.
const POINTS: Parameter = Parameter {
    name: "points",
    summary: "where the model is evaluated: once, at the input; smooth, the mean over inputs with added noise; path, \
              the mean over the straight path from the baseline, where signals are multiplied by what the input \
              differs from it",
    kind: ParameterKind::Choice(&["once", "smooth", "path"]),
    default: "",
};

/// Number of noisy copies.
pub(super) const SAMPLES: Parameter = Parameter {
    name: "samples",
    summary: "noisy copies of the input",
    kind: ParameterKind::Integer { min: 1, max: 100_000 },
    default: "25",
};

/// Size of the noise.
pub(super) const NOISE: Parameter = Parameter {
    name: "noise",
    summary: "standard deviation as a share of each row's range",
    kind: ParameterKind::Number { min: 0.0, max: 10.0 },
    default: "0.15",
};

/// How points are placed.
pub(super) const QUADRATURE: Parameter = Parameter {
    name: "quadrature",
    summary: "how points are placed on the path; adaptive adds points where the path needs them, on the host only",
    kind: ParameterKind::Choice(&["adaptive", "gauss-legendre", "trapezoid"]),
    default: "adaptive",
};

/// Number of points.
pub(super) const STEPS: Parameter = Parameter {
    name: "steps",
    summary: "points on the path; for adaptive quadrature the most that are spent",
    kind: ParameterKind::Integer { min: 2, max: 100_000 },
    default: "512",
};

/// When adaptive quadrature ends.
pub(super) const TOLERANCE: Parameter = Parameter {
    name: "tolerance",
    summary: "adaptive quadrature ends when the gap is below this share of the score's difference, and the \
              quadrature error below this share of Σ|values|",
    kind: ParameterKind::Number { min: 1e-9, max: 1.0 },
    default: "0.05",
};

/// How many points run at once in an artefact.
pub(super) const CHUNK: Parameter = Parameter {
    name: "chunk",
    summary: "in a compiled artefact: points that run as one batch",
    kind: ParameterKind::Integer { min: 1, max: 4096 },
    default: "1",
};

/// Keys that every compiled method takes: `points`, and how they are placed.
pub const COMMON: &[Parameter] = &[POINTS, SAMPLES, NOISE, QUADRATURE, STEPS, TOLERANCE, CHUNK];

/// The word of `points` that a common key belongs to; `None` for `points` itself.
fn belongs_to(key: &str) -> Option<&'static str> {
    match key {
        "points" => None,
        "samples" | "noise" => Some("smooth"),
        _ => Some("path"),
    }
}

/// Common keys of a definition that are not its own.
pub(super) fn common(definition: &Definition) -> impl Iterator<Item = &'static Parameter> {
    let compiled = matches!(definition.form, Form::Compiled(_));
    let own = definition.parameters;
    COMMON.iter().filter(move |common| compiled && own.iter().all(|parameter| parameter.name != common.name))
}

/// Refuses common keys whose points were not asked for; fills in the defaults of those whose were.
pub(super) fn settle(definition: &Definition, settings: &mut Settings) -> Result<()> {
    let word = settings.text("points").map(str::to_owned);
    for parameter in common(definition) {
        let Some(wanted) = belongs_to(parameter.name) else { continue };
        if word.as_deref() == Some(wanted) {
            settings.fill(parameter);
        } else if settings.is_given(parameter.name) {
            return Err(CompileError::Setting(format!(
                "{} has no key {:?} at {}: set points={wanted} with it",
                definition.name,
                parameter.name,
                match word.as_deref() {
                    None | Some("once") => "one point".to_owned(),
                    Some(word) => format!("points={word}"),
                },
            )));
        }
    }
    Ok(())
}

/// Wraps `method` in the points that `settings` ask for.
pub(super) fn wrap(definition: &Definition, settings: &Settings, method: Method) -> Result<Method> {
    let Some(word) = settings.text("points") else { return Ok(method) };
    let own = match method.points {
        Points::Once => "once",
        Points::Path { .. } => "path",
        Points::Noise { .. } => "smooth",
        Points::Background { .. } => "drawn from a background",
        Points::Each => "every row of a background",
    };
    if own == word {
        return Ok(method);
    }
    if method.is_relevance() && word == "path" {
        return Err(CompileError::Setting(format!(
            "points=path: {} gives shares of the score at a point, which are not multiplied by differences: leave it \
             out, or set points=smooth",
            definition.name
        )));
    }
    if method.rules.compares() {
        return Err(CompileError::Setting(format!(
            "points={word}: {} compares the input with a baseline whole, in one step, and has no points between them: leave \
             it out; deep-shap takes the mean over several baselines",
            definition.name
        )));
    }
    let points = match word {
        "smooth" => noise(settings),
        _ => path(settings),
    };
    method.at(points).ok_or_else(|| {
        CompileError::Setting(format!(
            "points={word}: the points of {} are its own, {own}: leave it out, or choose a method that is evaluated once",
            definition.name
        ))
    })
}

/// The path that the keys say.
pub(super) fn path(settings: &Settings) -> Points {
    let quadrature = match settings.text("quadrature") {
        Some("trapezoid") => Quadrature::Trapezoid,
        Some("gauss-legendre") => Quadrature::GaussLegendre,
        _ => Quadrature::Adaptive { tolerance: settings.number("tolerance") },
    };
    // Fixed rules without a number of steps take what the literature's tools take.
    let fixed = !matches!(quadrature, Quadrature::Adaptive { .. });
    let steps = if fixed && !settings.is_given("steps") { 50 } else { settings.integer("steps") };
    Points::Path { quadrature, steps }
}

/// The noise that the keys say.
pub(super) fn noise(settings: &Settings) -> Points {
    Points::Noise { samples: settings.integer("samples"), noise: settings.number("noise") }
}

#[cfg(test)]
mod tests {
    use super::super::{
        find_compiled, grad_cam, gradient, guided_backprop, integrated_gradients, smoothgrad,
    };
    use super::*;
    use crate::readout::Readout;

    fn made(definition: &Definition, given: &[(&str, &str)]) -> Result<Method> {
        let given: Vec<(String, String)> =
            given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let settings = Settings::new(definition, &given)?;
        Ok(definition.method(&settings)?.expect("the method is compiled"))
    }

    #[test]
    fn any_method_that_is_evaluated_once_takes_points() {
        let smooth = made(&guided_backprop::DEFINITION, &[("points", "smooth"), ("samples", "7")]).unwrap();
        assert_eq!(smooth.points, Points::Noise { samples: 7, noise: 0.15 });
        assert_eq!(smooth.readout, Readout::Signal);
        let path = made(&gradient::DEFINITION, &[("points", "path"), ("quadrature", "trapezoid")]).unwrap();
        assert_eq!(path.points, Points::Path { quadrature: Quadrature::Trapezoid, steps: 50 });
        assert_eq!(path.readout, Readout::TimesDifference);
        assert!(path.is_complete());
        let integrated = made(&integrated_gradients::DEFINITION, &[]).unwrap();
        assert_eq!(made(&gradient::DEFINITION, &[("points", "path")]).unwrap().points, integrated.points);
        let layer = made(&grad_cam::DEFINITION, &[("points", "path")]).unwrap();
        assert_eq!(layer.readout, Readout::ChannelWeighted);
        assert!(!layer.is_complete());
        assert_eq!(made(&gradient::DEFINITION, &[("points", "once")]).unwrap().points, Points::Once);
    }

    #[test]
    fn own_points_are_kept_and_others_are_refused() {
        for (definition, word) in
            [(&integrated_gradients::DEFINITION, "path"), (&smoothgrad::DEFINITION, "smooth")]
        {
            assert_eq!(
                made(definition, &[("points", word)]).unwrap().points,
                made(definition, &[]).unwrap().points
            );
        }
        let error = |definition, word| made(definition, &[("points", word)]).unwrap_err().to_string();
        assert_eq!(
            error(&smoothgrad::DEFINITION, "path"),
            "points=path: the points of smoothgrad are its own, smooth: leave it out, or choose a method that is \
             evaluated once"
        );
        assert!(error(&integrated_gradients::DEFINITION, "smooth").starts_with("points=smooth: the points"));
        assert!(error(&integrated_gradients::DEFINITION, "once").contains("its own, path"));
        let drawn = find_compiled("expected-gradients").expect("it is registered");
        assert!(error(drawn, "smooth").contains("drawn from a background"));
        for name in ["deeplift", "deep-shap"] {
            let compared = find_compiled(name).expect("it is registered");
            assert!(error(compared, "smooth").contains("in one step, and has no points between them"));
            assert!(error(compared, "path").starts_with("points=path: deep"));
        }
    }

    #[test]
    fn keys_without_their_points_are_refused() {
        let error = |given: &[(&str, &str)]| made(&gradient::DEFINITION, given).unwrap_err().to_string();
        assert_eq!(
            error(&[("samples", "5")]),
            "gradient has no key \"samples\" at one point: set points=smooth with it"
        );
        assert_eq!(
            error(&[("points", "smooth"), ("steps", "5")]),
            "gradient has no key \"steps\" at points=smooth: set points=path with it"
        );
        assert_eq!(
            error(&[("points", "pth")]),
            "points=pth: expected one of once, smooth, path; did you mean \"path\"?"
        );
    }
}
