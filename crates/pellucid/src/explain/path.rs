//! Methods that integrate along the straight path from a baseline to the input.

use ndarray::{Array1, ArrayD, Axis};
use pellucid_compile::{Points, Quadrature, nodes};

use super::baseline::{float, like};
use super::evaluator::{Arrays, Evaluator};
use crate::array::Array;
use crate::error::Error;

/// What integrating one or several rows gives.
pub(crate) struct Integrated {
    /// For each moved input, [n, …].
    pub(crate) values: Vec<ArrayD<f32>>,
    pub(crate) scores: Array1<f32>,
    pub(crate) baseline_scores: Array1<f32>,
    pub(crate) quadrature_errors: Option<Array1<f32>>,
    /// Rows whose adaptive quadrature ran out of points.
    pub(crate) unfinished: usize,
}

/// The path of one row: everything is in f64 but what the engine is fed.
struct Path<'a> {
    inputs: &'a Arrays,
    baselines: &'a Arrays,
    row: usize,
    target: i64,
    moved: Vec<String>,
}

/// A point on the path: its score, and for each moved input signal × difference.
struct Point {
    score: f64,
    parts: Vec<ArrayD<f32>>,
}

impl Path<'_> {
    fn row_of(arrays: &Arrays, name: &str, row: usize) -> Option<Array> {
        arrays.iter().find(|(key, _)| key == name).map(|(_, array)| array.rows(row..row + 1))
    }

    /// The inputs at each of `positions`, as rows.
    fn at(&self, positions: &[f64]) -> Result<Arrays, Error> {
        let mut arrays = Vec::new();
        for (name, array) in self.inputs {
            let x = array.rows(self.row..self.row + 1);
            let rows: Vec<Array> =
                match (float(&x), Self::row_of(self.baselines, name, self.row).as_ref().and_then(float)) {
                    (Some(x_values), Some(b_values)) if self.moved.contains(name) => positions
                        .iter()
                        .map(|position| {
                            let mut point = b_values.clone();
                            point.zip_mut_with(&x_values, |b, x| {
                                let start = f64::from(*b);
                                #[expect(
                                    clippy::cast_possible_truncation,
                                    reason = "the engine takes float32"
                                )]
                                {
                                    *b = (start + position * (f64::from(*x) - start)) as f32;
                                }
                            });
                            like(&x, point)
                        })
                        .collect(),
                    _ => vec![x.clone(); positions.len()],
                };
            let references: Vec<&Array> = rows.iter().collect();
            arrays.push((name.clone(), super::evaluator::join(&references)?));
        }
        Ok(arrays)
    }

    /// input − baseline of each moved input, without the batch axis.
    fn differences(&self) -> Vec<ArrayD<f32>> {
        self.moved
            .iter()
            .filter_map(|name| {
                let x = float(&Self::row_of(self.inputs, name, self.row)?)?;
                let b = float(&Self::row_of(self.baselines, name, self.row)?)?;
                Some((x - b).index_axis_move(Axis(0), 0))
            })
            .collect()
    }

    fn evaluate(&self, evaluator: &mut Evaluator<'_>, positions: &[f64]) -> Result<Vec<Point>, Error> {
        let differences = self.differences();
        let mut points = Vec::new();
        // Points are turned into rows a batch at a time, so that memory does not grow with their number.
        for some in positions.chunks(evaluator.wave().max(1)) {
            let passed = evaluator.pass(&self.at(some)?, &vec![self.target; some.len()])?;
            for index in 0..some.len() {
                let parts = passed
                    .values
                    .iter()
                    .zip(&differences)
                    .map(|(signal, difference)| &signal.index_axis(Axis(0), index) * difference)
                    .collect();
                points.push(Point { score: f64::from(passed.scores[index]), parts });
            }
        }
        Ok(points)
    }
}

/// A weighted sum of points, in f64.
struct Sum(Vec<ArrayD<f64>>);

impl Sum {
    fn new(like: &Point) -> Self {
        Self(like.parts.iter().map(|part| ArrayD::zeros(part.raw_dim())).collect())
    }

    fn add(&mut self, weight: f64, point: &Point) {
        for (sum, part) in self.0.iter_mut().zip(&point.parts) {
            sum.zip_mut_with(part, |sum, value| *sum += weight * f64::from(*value));
        }
    }

    fn norm(&self) -> f64 {
        self.0.iter().flat_map(|part| part.iter()).map(|value| value.abs()).sum()
    }

    fn total(&self) -> f64 {
        self.0.iter().flat_map(|part| part.iter()).sum()
    }

    fn distance(&self, other: &Sum) -> f64 {
        self.0
            .iter()
            .zip(&other.0)
            .flat_map(|(a, b)| a.iter().zip(b.iter()))
            .map(|(a, b)| (a - b).abs())
            .sum()
    }

    #[expect(clippy::cast_possible_truncation, reason = "attributions are float32")]
    fn to_f32(&self) -> Vec<ArrayD<f32>> {
        self.0.iter().map(|part| part.mapv(|value| value as f32)).collect()
    }
}

struct Row {
    values: Vec<ArrayD<f32>>,
    score: f64,
    baseline_score: f64,
    quadrature_error: Option<f64>,
    finished: bool,
}

/// Integrates every row.
pub(crate) fn integrate(
    evaluator: &mut Evaluator<'_>,
    points: Points,
    inputs: &Arrays,
    baselines: &Arrays,
    targets: &[i64],
) -> Result<Integrated, Error> {
    let Points::Path { quadrature, steps } = points else {
        return Err(Error::Internal("this method has no path".to_owned()));
    };
    let moved: Vec<String> = evaluator.program.attributions.iter().map(|(name, _)| name.clone()).collect();
    let expected = match quadrature {
        Quadrature::Adaptive { .. } => FIRST_PANELS * 2 + 1,
        _ => steps + 2,
    };
    evaluator.expect(expected * targets.len());
    let mut rows = Vec::new();
    for (row, target) in targets.iter().enumerate() {
        let path = Path { inputs, baselines, row, target: *target, moved: moved.clone() };
        rows.push(match quadrature {
            Quadrature::Adaptive { tolerance } => adaptive(evaluator, &path, tolerance, steps)?,
            _ => fixed(evaluator, &path, quadrature, steps)?,
        });
    }
    gather(&rows, moved.len())
}

#[expect(clippy::cast_possible_truncation, reason = "scores are float32")]
fn gather(rows: &[Row], inputs: usize) -> Result<Integrated, Error> {
    let mut values = Vec::new();
    for input in 0..inputs {
        let views: Vec<_> = rows.iter().map(|row| row.values[input].view()).collect();
        values.push(ndarray::stack(Axis(0), &views).map_err(|error| Error::Internal(error.to_string()))?);
    }
    let errors: Option<Vec<f32>> =
        rows.iter().map(|row| row.quadrature_error.map(|error| error as f32)).collect();
    Ok(Integrated {
        values,
        scores: rows.iter().map(|row| row.score as f32).collect(),
        baseline_scores: rows.iter().map(|row| row.baseline_score as f32).collect(),
        quadrature_errors: errors.map(Array1::from),
        unfinished: rows.iter().filter(|row| !row.finished).count(),
    })
}

fn fixed(
    evaluator: &mut Evaluator<'_>,
    path: &Path<'_>,
    quadrature: Quadrature,
    steps: usize,
) -> Result<Row, Error> {
    let rule =
        nodes(quadrature, steps).ok_or_else(|| Error::Internal("a fixed rule has points".to_owned()))?;
    let ends = path.evaluate(evaluator, &[0.0, 1.0])?;
    let mut sum = Sum::new(&ends[0]);
    let mut coarse = Sum::new(&ends[0]);
    // Every other point of an odd trapezoid rule is a trapezoid rule of twice the width.
    let nested =
        quadrature == Quadrature::Trapezoid && rule.positions.len() % 2 == 1 && rule.positions.len() > 2;
    let batch = evaluator.wave().max(1);
    for (number, positions) in rule.positions.chunks(batch).enumerate() {
        for (index, point) in path.evaluate(evaluator, positions)?.iter().enumerate() {
            let position = number * batch + index;
            sum.add(rule.weights[position], point);
            if nested && position.is_multiple_of(2) {
                coarse.add(2.0 * rule.weights[position], point);
            }
        }
    }
    Ok(Row {
        values: sum.to_f32(),
        score: ends[1].score,
        baseline_score: ends[0].score,
        quadrature_error: nested.then(|| sum.distance(&coarse)),
        finished: true,
    })
}

/// Panels that adaptive quadrature starts with; each has a point at both ends and in the middle.
const FIRST_PANELS: usize = 4;

/// Panels that are halved at once, so that every thread has work.
const FEWEST_PANELS: usize = 4;

/// A part of the path with points at both ends and in the middle.
struct Panel {
    left: usize,
    middle: usize,
    right: usize,
    width: f64,
    /// ‖two halves − whole‖₁ of the trapezoid rule.
    error: f64,
}

/// Halves panels, the worst first, until the gap is below `tolerance` times the score's difference and the distance
/// between the rule with and without the middle points below `tolerance` times Σ|values|, or `limit` points are
/// spent. Every point is used.
fn adaptive(
    evaluator: &mut Evaluator<'_>,
    path: &Path<'_>,
    tolerance: f64,
    limit: usize,
) -> Result<Row, Error> {
    let last = 2 * FIRST_PANELS;
    let first: Vec<f64> = (0..=last).map(|i| i as f64 / last as f64).collect();
    let mut points = path.evaluate(evaluator, &first)?;
    let mut positions = first;
    let mut panels: Vec<Panel> = (0..FIRST_PANELS)
        .map(|panel| panel_of(&points, 2 * panel, 2 * panel + 1, 2 * panel + 2, 1.0 / FIRST_PANELS as f64))
        .collect();
    let (score, baseline_score) = (points[last].score, points[0].score);
    loop {
        let (fine, coarse) = sums(&points, &panels);
        let allowed = tolerance * fine.norm();
        let error = fine.distance(&coarse);
        let difference = score - baseline_score;
        let gap = (difference - fine.total()).abs();
        // Where the score is nearly that of the baseline, a gap is small against the values instead.
        let least = 1e-3 * fine.norm();
        let finished = error <= allowed && gap <= tolerance * difference.abs().max(least);
        if finished || points.len() + 2 > limit || allowed <= 0.0 {
            let finished = finished || allowed <= 0.0;
            return Ok(Row {
                values: fine.to_f32(),
                score,
                baseline_score,
                quadrature_error: Some(error),
                finished,
            });
        }
        // The worst panels, until their errors make up half of all.
        panels.sort_by(|a, b| {
            b.error.total_cmp(&a.error).then(positions[a.left].total_cmp(&positions[b.left]))
        });
        let total: f64 = panels.iter().map(|panel| panel.error).sum();
        let mut covered = 0.0;
        let mut chosen = 0;
        while chosen < panels.len() && covered < 0.5 * total && points.len() + 2 * (chosen + 1) <= limit {
            covered += panels[chosen].error;
            chosen += 1;
        }
        chosen = chosen.max(FEWEST_PANELS).min(panels.len()).min((limit - points.len()) / 2).max(1);
        let split: Vec<Panel> = panels.drain(..chosen).collect();
        let between: Vec<f64> = split
            .iter()
            .flat_map(|p| {
                let (left, middle, right) = (positions[p.left], positions[p.middle], positions[p.right]);
                [f64::midpoint(left, middle), f64::midpoint(middle, right)]
            })
            .collect();
        evaluator.expect(between.len());
        let start = points.len();
        points.extend(path.evaluate(evaluator, &between)?);
        positions.extend(between);
        for (number, p) in split.iter().enumerate() {
            let new = start + 2 * number;
            panels.push(panel_of(&points, p.left, new, p.middle, p.width / 2.0));
            panels.push(panel_of(&points, p.middle, new + 1, p.right, p.width / 2.0));
        }
    }
}

fn panel_of(points: &[Point], left: usize, middle: usize, right: usize, width: f64) -> Panel {
    let (l, m, r) = (&points[left], &points[middle], &points[right]);
    let error: f64 =
        l.parts
            .iter()
            .zip(&m.parts)
            .zip(&r.parts)
            .map(|((l, m), r)| {
                ndarray::Zip::from(l).and(m).and(r).fold(0.0, |sum, l, m, r| {
                    sum + (2.0 * f64::from(*m) - f64::from(*l) - f64::from(*r)).abs()
                })
            })
            .sum();
    Panel { left, middle, right, width, error: error * width / 4.0 }
}

/// The integral with and without the middle points, in the order of the points so that it is always the same.
fn sums(points: &[Point], panels: &[Panel]) -> (Sum, Sum) {
    let mut fine_weights = vec![0.0; points.len()];
    let mut coarse_weights = vec![0.0; points.len()];
    for panel in panels {
        fine_weights[panel.left] += panel.width / 4.0;
        fine_weights[panel.middle] += panel.width / 2.0;
        fine_weights[panel.right] += panel.width / 4.0;
        coarse_weights[panel.left] += panel.width / 2.0;
        coarse_weights[panel.right] += panel.width / 2.0;
    }
    let (mut fine, mut coarse) = (Sum::new(&points[0]), Sum::new(&points[0]));
    for ((point, fine_weight), coarse_weight) in points.iter().zip(fine_weights).zip(coarse_weights) {
        fine.add(fine_weight, point);
        coarse.add(coarse_weight, point);
    }
    (fine, coarse)
}
