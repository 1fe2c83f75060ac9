//! From a batch and its targets to attributions: what is done with the model's points.

use ndarray::{Array1, Array2, ArrayD, Axis};
use pellucid_compile::methods::Form;
use pellucid_compile::{Method, Points, Readout};

use super::ablation_cam::ablation_cam;
use super::background::{Background, Draws};
use super::baseline::like;
use super::eigen_cam::eigen_cam;
use super::evaluator::{Arrays, Evaluator, join};
use super::explainer::Place;
use super::noise::Noise;
use super::path::{self, How};
use super::rise::{self, Masks};
use super::sampling::{self, Sampling};
use super::score_cam::score_cam;
use super::targets::Aim;
use super::{Baseline, Chosen, Options, background, layer, occlusion};
use crate::array::Array;
use crate::attribution::Attribution;
use crate::error::Error;
use crate::space::Spaces;

/// One batch under a method.
pub(super) struct Run<'a> {
    pub(super) chosen: &'a Chosen,
    pub(super) method: &'a Method,
    pub(super) options: &'a Options,
    /// The baseline, read where it is a file.
    pub(super) baseline: &'a Baseline,
    /// The background, read where it is a file; `None` is zero.
    pub(super) background: Option<&'a Arrays>,
    pub(super) arrays: &'a Arrays,
    /// How the rows of each lie.
    pub(super) spaces: &'a Spaces,
    /// What the program is fed at the input: the same, and their baselines where it takes them.
    pub(super) fed: &'a Arrays,
    /// What is explained: the scores of every class, [n, classes], or a hidden unit's values, [n, 1].
    pub(super) scores: &'a Array2<f32>,
    /// Where the batch stands among all rows of the run.
    pub(super) place: Place,
    /// Rows whose adaptive quadrature ran out of points, over all targets.
    pub(super) unfinished: usize,
}

impl Run<'_> {
    fn baselines(&self) -> Result<Arrays, Error> {
        self.baseline.rows(self.arrays, self.spaces, self.place)
    }

    /// The attributions of the batch's rows, one a target: `aims` are by target, then by row. Evaluations are for the
    /// caller to count.
    pub(super) fn attribute(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        aims: &[Vec<Aim>],
    ) -> Result<Vec<Attribution>, Error> {
        if matches!(self.chosen.definition.form, Form::Host) {
            return self.attribute_from_outside(evaluator, aims);
        }
        match self.method.points {
            Points::Once => {
                evaluator.expect(self.scores.nrows());
                let passed = evaluator.pass(self.fed, aims)?;
                let finished = passed.into_iter().map(|passed| {
                    let mut attribution = blank(evaluator, passed.values);
                    attribution.score = passed.scores;
                    attribution.gap = passed.gap;
                    if let Some(scores) = passed.baseline_scores {
                        attribution.gap = evaluator
                            .program
                            .complete
                            .then(|| gaps(&attribution, &scores))
                            .or(attribution.gap);
                        attribution.baseline_score = Some(scores);
                    }
                    attribution
                });
                Ok(finished.collect())
            }
            Points::Path { quadrature, steps } => {
                let how = How {
                    quadrature,
                    steps,
                    statistic: self.method.statistic,
                    compared: self.method.readout == Readout::TimesDifference,
                    complete: evaluator.program.complete,
                };
                self.along_a_path(evaluator, how, aims)
            }
            Points::Noise { samples, noise } => {
                let sampling = Sampling {
                    samples,
                    noise: Some(self.noise(noise)),
                    background: None,
                    compared: false,
                    statistic: self.method.statistic,
                };
                self.sampled(evaluator, &sampling, self.arrays, aims)
            }
            Points::Background { samples, noise } => {
                self.attribute_over_background(evaluator, samples, noise, aims)
            }
            Points::Each => self.against_every_row(evaluator, aims),
        }
    }

    fn noise(&self, share: f64) -> Noise<'_> {
        match &self.options.noise {
            Some(given) => Noise::Given(given),
            None => Noise::Drawn { share, seed: self.options.seed },
        }
    }

    /// The scores of the batch's rows under one target.
    fn scores_of(&self, aims: &[Aim]) -> Array1<f32> {
        self.scores.rows().into_iter().zip(aims).map(|(row, aim)| aim.score(&row)).collect()
    }

    /// Methods that evaluate the model from outside.
    fn attribute_from_outside(
        &self,
        evaluator: &mut Evaluator<'_>,
        aims: &[Vec<Aim>],
    ) -> Result<Vec<Attribution>, Error> {
        let settings = &self.chosen.settings;
        let baselines = self.baselines()?;
        let mut attributions = Vec::new();
        match self.chosen.definition.name {
            "ablation-cam" | "eigen-cam" | "score-cam" => {
                let maps = self.layer_maps(evaluator, &baselines, aims)?;
                attributions.extend(maps.into_iter().map(|map| blank(evaluator, vec![map])));
            }
            "rise" => {
                let masks = Masks {
                    samples: settings.integer("samples"),
                    grid: settings.sizes("grid"),
                    keep: settings.number("keep"),
                    seed: self.options.seed,
                    given: self.options.masks.as_ref(),
                };
                for found in rise::rise(evaluator, &masks, self.spaces, (self.arrays, &baselines), aims)? {
                    let mut attribution = blank(evaluator, found.values);
                    attribution.std_error = found.std_errors;
                    attributions.push(attribution);
                }
            }
            _ => {
                let sizes = (settings.sizes("window"), settings.sizes("stride"));
                let found = occlusion::occlude(
                    evaluator,
                    (&sizes.0, &sizes.1),
                    self.spaces,
                    (self.arrays, &baselines),
                    self.scores,
                    aims,
                )?;
                for found in found {
                    let mut attribution = blank(evaluator, found.values);
                    attribution.repeated = found.repeated;
                    attributions.push(attribution);
                }
            }
        }
        for (attribution, aims) in attributions.iter_mut().zip(aims) {
            attribution.score = self.scores_of(aims);
        }
        Ok(attributions)
    }

    /// Class activation maps without a derivative, one a target.
    fn layer_maps(
        &self,
        evaluator: &mut Evaluator<'_>,
        baselines: &Arrays,
        aims: &[Vec<Aim>],
    ) -> Result<Vec<ArrayD<f32>>, Error> {
        match self.chosen.definition.name {
            "ablation-cam" => ablation_cam(evaluator, self.arrays, self.scores, aims),
            "score-cam" => score_cam(evaluator, self.spaces, (self.arrays, baselines), aims),
            _ => {
                let centred = self.chosen.settings.text("centre") == Some("yes");
                Ok(vec![eigen_cam(evaluator, centred, self.arrays)?; aims.len()])
            }
        }
    }

    /// `inputs`, and where points are placed among a layer's values, what the layer is there: it is then fed.
    fn with_layer(&self, evaluator: &mut Evaluator<'_>, mut inputs: Arrays) -> Result<Arrays, Error> {
        let name = evaluator.program.layer.clone().unwrap_or_default();
        // An input is a layer too, and is fed already.
        if self.method.moves_layer() && inputs.iter().all(|(input, _)| *input != name) {
            let values = layer::activations(evaluator, &inputs)?;
            inputs.push((name, values));
        }
        Ok(inputs)
    }

    /// What the layer is at every row of the background, where points are placed among its values.
    fn background_of_layer(
        &self,
        evaluator: &mut Evaluator<'_>,
        background: Background,
    ) -> Result<Background, Error> {
        if !self.method.moves_layer() {
            return Ok(background);
        }
        if let Some((name, _)) = self.arrays.iter().find(|(name, _)| background.row(name, 0).is_none()) {
            return Err(Error::Setting {
                name: "layer".to_owned(),
                problem: format!(
                    "input {name:?} is not floating-point, so that what a layer is at the background differs by row: \
                     use integrated-gradients with a baseline"
                ),
            });
        }
        let mut rows = self.with_layer(evaluator, background.all(self.arrays, 0)?)?;
        let name = layer::name(evaluator)?;
        rows.retain(|(value, _)| *value == name);
        let (name, values) =
            rows.pop().ok_or_else(|| Error::Internal("the background has no layer".to_owned()))?;
        Ok(Background::of(name, values))
    }

    fn along_a_path(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        how: How,
        aims: &[Vec<Aim>],
    ) -> Result<Vec<Attribution>, Error> {
        let baselines = self.with_layer(evaluator, self.baselines()?)?;
        let inputs = self.with_layer(evaluator, self.arrays.clone())?;
        let mut attributions = Vec::new();
        let scores: Vec<Array1<f32>> = aims.iter().map(|aims| self.scores_of(aims)).collect();
        for found in path::integrate(evaluator, how, (&inputs, &baselines), aims, &scores)? {
            self.unfinished += found.unfinished;
            let mut attribution = blank(evaluator, found.values);
            attribution.score = found.scores;
            attribution.gap = how.complete.then(|| gaps(&attribution, &found.baseline_scores));
            attribution.baseline_score = Some(found.baseline_scores);
            attribution.quadrature_error = found.quadrature_errors;
            attributions.push(attribution);
        }
        Ok(attributions)
    }

    fn sampled(
        &self,
        evaluator: &mut Evaluator<'_>,
        sampling: &Sampling<'_>,
        inputs: &Arrays,
        aims: &[Vec<Aim>],
    ) -> Result<Vec<Attribution>, Error> {
        let found = sampling::sample(evaluator, sampling, inputs, aims, self.place)?;
        let finished = found.into_iter().zip(aims).map(|(found, aims)| {
            let mut attribution = blank(evaluator, found.values);
            attribution.score = self.scores_of(aims);
            attribution.std_error = found.std_errors;
            attribution.gap_std_error = found.total_errors.filter(|_| self.method.is_complete());
            attribution
        });
        Ok(finished.collect())
    }

    fn attribute_over_background(
        &self,
        evaluator: &mut Evaluator<'_>,
        samples: usize,
        noise: f64,
        aims: &[Vec<Aim>],
    ) -> Result<Vec<Attribution>, Error> {
        let rows = self.background_of_layer(evaluator, Background::new(self.background, self.arrays)?)?;
        let inputs = self.with_layer(evaluator, self.arrays.clone())?;
        let draws: Draws = match &self.options.draws {
            Some(draws) => draws.clone(),
            None => background::draws(samples, self.options.seed),
        };
        let sampling = Sampling {
            samples,
            noise: (noise > 0.0).then(|| self.noise(noise)),
            background: Some((&rows, &draws)),
            compared: self.method.readout == Readout::TimesDifference,
            statistic: self.method.statistic,
        };
        let mut attributions = self.sampled(evaluator, &sampling, &inputs, aims)?;
        if !self.method.is_complete() {
            return Ok(attributions);
        }
        let means = self.background_scores(evaluator, (&inputs, &rows), aims)?;
        for (attribution, means) in attributions.iter_mut().zip(means) {
            attribution.gap = Some(gaps(attribution, &means));
            attribution.baseline_score = Some(means);
        }
        Ok(attributions)
    }

    /// The mean over every row of the background as the baseline.
    fn against_every_row(
        &self,
        evaluator: &mut Evaluator<'_>,
        aims: &[Vec<Aim>],
    ) -> Result<Vec<Attribution>, Error> {
        let background = Background::new(self.background, self.arrays)?;
        let count = background.count();
        evaluator.expect(self.scores.nrows() * count);
        // By target: by row, sums in f64 of every value and of the baseline's score.
        let mut sums: Vec<Vec<(Vec<ArrayD<f64>>, f64)>> = aims.iter().map(|_| Vec::new()).collect();
        for row in 0..self.scores.nrows() {
            for rows in &mut sums {
                rows.push((Vec::new(), 0.0));
            }
            let numbers: Vec<usize> = (0..count).collect();
            for some in numbers.chunks(evaluator.wave().max(1)) {
                let fed = self.fed_with(evaluator, &background, row, some)?;
                let here: Vec<Vec<Aim>> = aims.iter().map(|aims| vec![aims[row]; some.len()]).collect();
                for (rows, passed) in sums.iter_mut().zip(evaluator.pass(&fed, &here)?) {
                    let (values, score) = &mut rows[row];
                    *score +=
                        passed.baseline_scores.iter().flatten().map(|score| f64::from(*score)).sum::<f64>();
                    for (number, found) in passed.values.iter().enumerate() {
                        let sum = found.mapv(f64::from).sum_axis(Axis(0));
                        match values.get_mut(number) {
                            Some(before) => *before += &sum,
                            None => values.push(sum),
                        }
                    }
                }
            }
        }
        #[expect(clippy::cast_possible_truncation, reason = "attributions and scores are float32")]
        let mean = |sum: f64| (sum / count as f64) as f32;
        let mut attributions = Vec::new();
        for (rows, aims) in sums.iter().zip(aims) {
            let mut values = Vec::new();
            for number in 0..rows.first().map_or(0, |(values, _)| values.len()) {
                let parts: Vec<ArrayD<f32>> =
                    rows.iter().map(|(values, _)| values[number].mapv(mean)).collect();
                let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
                let all = ndarray::stack(Axis(0), &views);
                values.push(all.map_err(|error| Error::Internal(error.to_string()))?);
            }
            let mut attribution = blank(evaluator, values);
            attribution.score = self.scores_of(aims);
            let scores: Array1<f32> = rows.iter().map(|(_, score)| mean(*score)).collect();
            attribution.gap = evaluator.program.complete.then(|| gaps(&attribution, &scores));
            attribution.baseline_score = Some(scores);
            attributions.push(attribution);
        }
        Ok(attributions)
    }

    /// One row of the inputs as often as there are `numbers`, each beside the row of the background that a number says.
    fn fed_with(
        &self,
        evaluator: &Evaluator<'_>,
        background: &Background,
        row: usize,
        numbers: &[usize],
    ) -> Result<Arrays, Error> {
        let mut fed = Vec::new();
        for (name, array) in self.arrays {
            let x = array.rows(row..row + 1);
            fed.push((name.clone(), join(&vec![&x; numbers.len()])?));
            let taken = evaluator.program.baselines.iter().find(|(input, _)| input == name);
            if let Some((_, baseline)) = taken {
                let missing = || Error::Internal(format!("the background has nothing for {name:?}"));
                let rows = numbers
                    .iter()
                    .map(|number| Ok(like(&x, background.row(name, *number).ok_or_else(missing)?)))
                    .collect::<Result<Vec<Array>, Error>>()?;
                fed.push((baseline.clone(), join(&rows.iter().collect::<Vec<_>>())?));
            }
        }
        Ok(fed)
    }

    /// The mean score over the whole background, by target, then by row.
    fn background_scores(
        &self,
        evaluator: &mut Evaluator<'_>,
        (inputs, background): (&Arrays, &Background),
        aims: &[Vec<Aim>],
    ) -> Result<Vec<Array1<f32>>, Error> {
        // Where every input is the background's, its scores are the same for every row.
        let moves_all = self.method.moves_layer() && evaluator.program.separated;
        let same = moves_all || inputs.iter().all(|(name, _)| evaluator.program.moved.contains(name));
        let rows = self.scores.nrows();
        evaluator.expect(background.count() * if same { 1 } else { rows });
        let mut tables = Vec::new();
        for row in 0..if same { rows.min(1) } else { rows } {
            tables.push(evaluator.scores(&background.all(inputs, row)?, background.count())?);
        }
        let mean = |row: usize, aim: &Aim| {
            let table = &tables[if same { 0 } else { row }];
            let sum: f64 = table.rows().into_iter().map(|scores| f64::from(aim.score(&scores))).sum();
            #[expect(clippy::cast_possible_truncation, reason = "scores are float32")]
            {
                (sum / background.count() as f64) as f32
            }
        };
        let by_row = |aims: &Vec<Aim>| aims.iter().enumerate().map(|(row, aim)| mean(row, aim)).collect();
        Ok(aims.iter().map(by_row).collect())
    }
}

/// An attribution of these values, of which nothing else is known.
fn blank(evaluator: &Evaluator<'_>, values: Vec<ArrayD<f32>>) -> Attribution {
    let names = evaluator.program.attributions.iter().map(|(name, _)| name.clone());
    Attribution {
        values: names.zip(values).collect(),
        score: Array1::default(0),
        unit: evaluator.program.unit,
        baseline_score: None,
        gap: None,
        relevance: evaluator.program.relevance,
        gap_std_error: None,
        quadrature_error: None,
        std_error: None,
        repeated: Vec::new(),
        evaluations: 0,
    }
}

/// score − baseline score − Σ values, by row.
fn gaps(attribution: &Attribution, baseline_scores: &Array1<f32>) -> Array1<f32> {
    (0..attribution.rows())
        .map(|row| {
            let total: f64 = attribution
                .values
                .iter()
                .flat_map(|(_, values)| values.index_axis(Axis(0), row).to_owned().into_iter())
                .map(f64::from)
                .sum();
            #[expect(clippy::cast_possible_truncation, reason = "a gap between float32 numbers")]
            {
                (f64::from(attribution.score[row]) - f64::from(baseline_scores[row]) - total) as f32
            }
        })
        .collect()
}
