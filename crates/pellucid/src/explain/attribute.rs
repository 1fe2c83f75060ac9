//! From a batch and its classes to an attribution: what is done with the model's points.

use ndarray::{Array1, ArrayD};
use pellucid_compile::methods::Form;
use pellucid_compile::{Method, Points};

use super::evaluator::{Arrays, Evaluator};
use super::explainer::Place;
use super::{Baseline, Chosen, Options, noise, occlusion, path};
use crate::attribution::Attribution;
use crate::error::Error;

/// One batch under a method.
pub(super) struct Run<'a> {
    pub(super) chosen: &'a Chosen,
    pub(super) method: &'a Method,
    pub(super) options: &'a Options,
    /// The baseline, read where it is a file.
    pub(super) baseline: &'a Baseline,
    pub(super) arrays: &'a Arrays,
    /// Where the batch stands among all rows of the run.
    pub(super) place: Place,
    /// Rows whose adaptive quadrature ran out of points.
    pub(super) unfinished: usize,
}

impl Run<'_> {
    fn baselines(&self) -> Result<Arrays, Error> {
        self.baseline.rows(self.arrays, self.place)
    }

    /// The attribution of the batch's rows, whose classes `classes` are; evaluations are for the caller to count.
    pub(super) fn attribute(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        classes: &[usize],
    ) -> Result<Attribution, Error> {
        let targets: Vec<i64> =
            classes.iter().map(|class| i64::try_from(*class).unwrap_or(i64::MAX)).collect();
        let unit = evaluator.program.unit;
        let names: Vec<String> =
            evaluator.program.attributions.iter().map(|(name, _)| name.clone()).collect();
        let finish = |values: Vec<ArrayD<f32>>, score: Array1<f32>| Attribution {
            values: names.iter().cloned().zip(values).collect(),
            score,
            unit,
            baseline_score: None,
            gap: None,
            quadrature_error: None,
            std_error: None,
            evaluations: 0,
        };
        if matches!(self.chosen.definition.form, Form::Host) {
            let (window, stride) =
                (self.chosen.settings.sizes("window"), self.chosen.settings.sizes("stride"));
            let baselines = self.baselines()?;
            let found = occlusion::occlude(evaluator, &window, &stride, self.arrays, &baselines, &targets)?;
            return Ok(finish(found.values, found.scores));
        }
        match self.method.points {
            Points::Once => {
                evaluator.expect(targets.len());
                let passed = evaluator.pass(self.arrays, &targets)?;
                Ok(finish(passed.values, passed.scores))
            }
            Points::Path { .. } => {
                let baselines = self.baselines()?;
                let found =
                    path::integrate(evaluator, self.method.points, self.arrays, &baselines, &targets)?;
                self.unfinished += found.unfinished;
                let mut attribution = finish(found.values, found.scores);
                attribution.gap = Some(gaps(&attribution, &found.baseline_scores));
                attribution.baseline_score = Some(found.baseline_scores);
                attribution.quadrature_error = found.quadrature_errors;
                Ok(attribution)
            }
            Points::Background { .. } => {
                Err(Error::Internal("drawn baselines are not there yet".to_owned()))
            }
            Points::Noise { samples, noise: share } => {
                let noise = match &self.options.noise {
                    Some(given) => noise::Noise::Given(given),
                    None => noise::Noise::Drawn { share, seed: self.options.seed },
                };
                let found = noise::average(evaluator, samples, &noise, self.arrays, &targets, self.place)?;
                let mut attribution = finish(found.values, found.scores);
                attribution.std_error = found.std_error;
                Ok(attribution)
            }
        }
    }
}

/// score − baseline score − Σ values, by row.
fn gaps(attribution: &Attribution, baseline_scores: &Array1<f32>) -> Array1<f32> {
    (0..attribution.rows())
        .map(|row| {
            let total: f64 = attribution
                .values
                .iter()
                .flat_map(|(_, values)| values.index_axis(ndarray::Axis(0), row).to_owned().into_iter())
                .map(f64::from)
                .sum();
            #[expect(clippy::cast_possible_truncation, reason = "a gap between float32 numbers")]
            {
                (f64::from(attribution.score[row]) - f64::from(baseline_scores[row]) - total) as f32
            }
        })
        .collect()
}
