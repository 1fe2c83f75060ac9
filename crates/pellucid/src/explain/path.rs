//! Methods that integrate along the straight path from a baseline to the input.

use ndarray::{Array1, ArrayD, Axis};
use pellucid_compile::{Nodes, Quadrature, Statistic, nodes};

use super::baseline::{float, like};
use super::evaluator::{Arrays, Evaluator};
use super::targets::Aim;
use crate::array::Array;
use crate::error::Error;

/// What integrating one or several rows gives, under one target.
pub(crate) struct Integrated {
    /// For each collected value, [n, …].
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
    /// By target.
    aims: Vec<Aim>,
    moved: Vec<String>,
    /// By input: what takes its difference from the baseline, of programs that have such inputs.
    directions: Vec<(String, String)>,
    how: How,
}

/// How the path is integrated.
#[derive(Clone, Copy)]
pub(crate) struct How {
    pub(crate) quadrature: Quadrature,
    pub(crate) steps: usize,
    pub(crate) statistic: Statistic,
    /// Whether readouts are multiplied by what the input differs from the baseline.
    pub(crate) compared: bool,
    /// Whether the values ought to sum to the difference of scores.
    pub(crate) complete: bool,
}

/// A point on the path, under one target: its score, and for each collected value the finished readout.
struct Point {
    score: f64,
    parts: Vec<ArrayD<f32>>,
    /// What the layer is here, of methods that take its changes.
    layer: Option<ArrayD<f32>>,
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

    /// The program's inputs that take what each input differs by from its baseline, for `count` points.
    fn directions(&self, count: usize) -> Result<Arrays, Error> {
        let mut arrays = Vec::new();
        for (input, name) in &self.directions {
            let missing = || Error::Internal(format!("input {input:?} has no baseline"));
            let x = Self::row_of(self.inputs, input, self.row).ok_or_else(missing)?;
            let b = Self::row_of(self.baselines, input, self.row);
            let (values, b) = float(&x).zip(b.as_ref().and_then(float)).ok_or_else(missing)?;
            let difference = like(&x, values - b);
            arrays.push((name.clone(), super::evaluator::join(&vec![&difference; count])?));
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

    /// The points at `positions`, by target.
    fn evaluate(&self, evaluator: &mut Evaluator<'_>, positions: &[f64]) -> Result<Vec<Vec<Point>>, Error> {
        let differences = if self.how.compared { self.differences() } else { Vec::new() };
        let mut points: Vec<Vec<Point>> = self.aims.iter().map(|_| Vec::new()).collect();
        // Points are turned into rows a batch at a time: of each, only what it gives is held.
        for some in positions.chunks(evaluator.wave().max(1)) {
            let aims: Vec<Vec<Aim>> = self.aims.iter().map(|aim| vec![*aim; some.len()]).collect();
            let mut rows = self.at(some)?;
            rows.extend(self.directions(some.len())?);
            for (points, passed) in points.iter_mut().zip(evaluator.pass(&rows, &aims)?) {
                for index in 0..some.len() {
                    let parts = passed.values.iter().enumerate().map(|(number, values)| {
                        let mut readout = values.index_axis(Axis(0), index).to_owned();
                        if let Some(difference) = differences.get(number) {
                            readout *= difference;
                        }
                        if self.how.statistic == Statistic::MeanSquare {
                            readout.mapv_inplace(|value| value * value);
                        }
                        readout
                    });
                    let layer = passed.layer.as_ref();
                    points.push(Point {
                        score: f64::from(passed.scores[index]),
                        parts: parts.collect(),
                        layer: layer.map(|layer| layer.index_axis(Axis(0), index).to_owned()),
                    });
                }
            }
        }
        Ok(points)
    }
}

/// A weighted sum of points, in f64.
#[derive(Default)]
struct Sum(Vec<ArrayD<f64>>);

impl Sum {
    fn new(like: &Point) -> Self {
        Self(like.parts.iter().map(|part| ArrayD::zeros(part.raw_dim())).collect())
    }

    fn add(&mut self, weight: f64, point: &Point) {
        if self.0.is_empty() {
            *self = Self::new(point);
        }
        for (sum, part) in self.0.iter_mut().zip(&point.parts) {
            sum.zip_mut_with(part, |sum, value| *sum += weight * f64::from(*value));
        }
    }

    /// Between two neighbours: the mean of their signals × the change of the layer.
    fn add_change(&mut self, a: &Point, b: &Point) {
        let (Some(before), Some(after)) = (&a.layer, &b.layer) else { return };
        for (sum, (a, b)) in self.0.iter_mut().zip(a.parts.iter().zip(&b.parts)) {
            let change = after.mapv(f64::from) - before.mapv(f64::from);
            let mean = (a.mapv(f64::from) + b.mapv(f64::from)) * 0.5;
            *sum += &(mean * change);
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

/// Integrates every row, for each target: `aims` and `scores`, those of the rows themselves, are by target, then by row.
pub(crate) fn integrate(
    evaluator: &mut Evaluator<'_>,
    how: How,
    (inputs, baselines): (&Arrays, &Arrays),
    aims: &[Vec<Aim>],
    scores: &[Array1<f32>],
) -> Result<Vec<Integrated>, Error> {
    let (moved, directions) = (evaluator.program.moved.clone(), evaluator.program.directions.clone());
    let rows = 0..aims.first().map_or(0, Vec::len);
    let paths: Vec<Path<'_>> = rows
        .map(|row| {
            let here = aims.iter().map(|aims| aims[row]).collect();
            let (moved, directions) = (moved.clone(), directions.clone());
            Path { inputs, baselines, row, aims: here, moved, directions, how }
        })
        .collect();
    let found = match how.quadrature {
        Quadrature::Adaptive { tolerance } => {
            evaluator.expect((2 * FIRST_PANELS + 1) * paths.len());
            paths.iter().map(|path| adaptive(evaluator, path, tolerance)).collect::<Result<Vec<_>, _>>()?
        }
        _ => fixed(evaluator, &paths, scores)?,
    };
    let mut by_target: Vec<Vec<Row>> = aims.iter().map(|_| Vec::new()).collect();
    for found in found {
        for (rows, found) in by_target.iter_mut().zip(found) {
            rows.push(found);
        }
    }
    by_target.iter().map(|rows| gather(rows)).collect()
}

#[expect(clippy::cast_possible_truncation, reason = "scores are float32")]
fn gather(rows: &[Row]) -> Result<Integrated, Error> {
    let mut values = Vec::new();
    for input in 0..rows.first().map_or(0, |row| row.values.len()) {
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

/// By a fixed rule: for each path, by target. `scores` are those at the inputs.
fn fixed(
    evaluator: &mut Evaluator<'_>,
    paths: &[Path<'_>],
    scores: &[Array1<f32>],
) -> Result<Vec<Vec<Row>>, Error> {
    let Some(first) = paths.first() else { return Ok(Vec::new()) };
    let rule = nodes(first.how.quadrature, first.how.steps)
        .ok_or_else(|| Error::Internal("a fixed rule has points".to_owned()))?;
    // Every other point of an odd trapezoid rule is a trapezoid rule of twice the width.
    let trapezoid = first.how.quadrature == Quadrature::Trapezoid;
    let nested = trapezoid && rule.positions.len() % 2 == 1 && rule.positions.len() > 2;
    if evaluator.program.changes.is_some() {
        evaluator.expect((rule.positions.len() + 2) * paths.len());
        return paths.iter().map(|path| changes(evaluator, path, &rule.positions, nested)).collect();
    }
    evaluator.expect((rule.positions.len() + 1) * paths.len());
    let starts = starts(evaluator, paths)?;
    let mut found = Vec::new();
    for (number, path) in paths.iter().enumerate() {
        let ends =
            starts[number].iter().zip(scores).map(|(start, scores)| (*start, f64::from(scores[number])));
        let sums = weighted(evaluator, path, &rule, nested)?;
        let rows = sums.iter().zip(ends).map(|((sum, coarse), (start, end))| Row {
            values: sum.to_f32(),
            score: end,
            baseline_score: start,
            quadrature_error: nested.then(|| sum.distance(coarse)),
            finished: true,
        });
        found.push(rows.collect());
    }
    Ok(found)
}

/// The scores where the paths start, by path, then by target: no derivative is computed for them.
fn starts(evaluator: &mut Evaluator<'_>, paths: &[Path<'_>]) -> Result<Vec<Vec<f64>>, Error> {
    let rows = paths.iter().map(|path| path.at(&[0.0])).collect::<Result<Vec<_>, _>>()?;
    let mut together = Vec::new();
    for (position, (name, _)) in rows.first().into_iter().flatten().enumerate() {
        let parts: Vec<&Array> = rows.iter().map(|arrays| &arrays[position].1).collect();
        together.push((name.clone(), super::evaluator::join(&parts)?));
    }
    let table = evaluator.scores_beside_predictions(&together, paths.len())?;
    let of = |path: &Path<'_>| {
        let row = table.row(path.row);
        path.aims.iter().map(|aim| f64::from(aim.score(&row))).collect()
    };
    Ok(paths.iter().map(of).collect())
}

/// By target: the rule's sum, and that of every other point where those are a rule too.
fn weighted(
    evaluator: &mut Evaluator<'_>,
    path: &Path<'_>,
    rule: &Nodes,
    nested: bool,
) -> Result<Vec<(Sum, Sum)>, Error> {
    let mut sums: Vec<(Sum, Sum)> = path.aims.iter().map(|_| (Sum::default(), Sum::default())).collect();
    let batch = evaluator.wave().max(1);
    for (number, positions) in rule.positions.chunks(batch).enumerate() {
        for ((sum, coarse), points) in sums.iter_mut().zip(path.evaluate(evaluator, positions)?) {
            for (index, point) in points.iter().enumerate() {
                let position = number * batch + index;
                sum.add(rule.weights[position], point);
                if nested && position.is_multiple_of(2) {
                    coarse.add(2.0 * rule.weights[position], point);
                }
            }
        }
    }
    Ok(sums)
}

/// Changes between neighbouring points, both ends included: where they are is the rule's, their weights are the changes
/// themselves. `nested`: every other point alone is a rule too.
fn changes(
    evaluator: &mut Evaluator<'_>,
    path: &Path<'_>,
    positions: &[f64],
    nested: bool,
) -> Result<Vec<Row>, Error> {
    struct Walked {
        sum: Sum,
        coarse: Sum,
        /// The last point, and the last of the coarser rule.
        last: std::rc::Rc<Point>,
        last_coarse: std::rc::Rc<Point>,
        end: Point,
        scores: (f64, f64),
    }
    let mut walked = Vec::new();
    for mut ends in path.evaluate(evaluator, &[0.0, 1.0])? {
        let (Some(end), Some(start)) = (ends.pop(), ends.pop()) else {
            return Err(Error::Internal("a path has two ends".to_owned()));
        };
        let (sum, coarse) = (Sum::new(&start), Sum::new(&start));
        let scores = (start.score, end.score);
        let last = std::rc::Rc::new(start);
        walked.push(Walked { sum, coarse, last_coarse: last.clone(), last, end, scores });
    }
    let mut number = 0usize;
    for some in positions.chunks(evaluator.wave().max(1)) {
        for (walked, points) in walked.iter_mut().zip(path.evaluate(evaluator, some)?) {
            for (index, point) in points.into_iter().enumerate() {
                let point = std::rc::Rc::new(point);
                walked.sum.add_change(&walked.last, &point);
                if nested && (number + index).is_multiple_of(2) {
                    walked.coarse.add_change(&walked.last_coarse, &point);
                    walked.last_coarse = point.clone();
                }
                walked.last = point;
            }
        }
        number += some.len();
    }
    let rows = walked.into_iter().map(|mut walked| {
        walked.sum.add_change(&walked.last, &walked.end);
        walked.coarse.add_change(&walked.last_coarse, &walked.end);
        Row {
            values: walked.sum.to_f32(),
            score: walked.scores.1,
            baseline_score: walked.scores.0,
            quadrature_error: nested.then(|| walked.sum.distance(&walked.coarse)),
            finished: true,
        }
    });
    Ok(rows.collect())
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
    /// ‖two halves − whole‖₁ of the trapezoid rule, by target.
    errors: Vec<f64>,
}

/// What the points so far say of one target.
struct Standing {
    fine: Sum,
    error: f64,
    finished: bool,
}

/// Halves panels, the worst first, until every target has a gap below `tolerance` times the score's difference, where
/// the method is complete, and a distance between the rule with and without the middle points below `tolerance` times
/// Σ|values|, or all points are spent. Every point is used for every target.
fn adaptive(evaluator: &mut Evaluator<'_>, path: &Path<'_>, tolerance: f64) -> Result<Vec<Row>, Error> {
    let limit = path.how.steps;
    let last = 2 * FIRST_PANELS;
    let first: Vec<f64> = (0..=last).map(|i| i as f64 / last as f64).collect();
    let mut points = path.evaluate(evaluator, &first)?;
    let mut positions = first;
    let mut panels: Vec<Panel> = (0..FIRST_PANELS)
        .map(|panel| panel_of(&points, 2 * panel, 2 * panel + 1, 2 * panel + 2, 1.0 / FIRST_PANELS as f64))
        .collect();
    loop {
        let standings: Vec<Standing> = points
            .iter()
            .map(|points| standing(points, last, &panels, tolerance, path.how.complete))
            .collect();
        if standings.iter().all(|standing| standing.finished) || positions.len() + 2 > limit {
            let rows = standings.iter().zip(&points).map(|(standing, points)| Row {
                values: standing.fine.to_f32(),
                score: points[last].score,
                baseline_score: points[0].score,
                quadrature_error: Some(standing.error),
                finished: standing.finished,
            });
            return Ok(rows.collect());
        }
        let chosen = worst(&mut panels, &positions, &standings, limit);
        let split: Vec<Panel> = panels.drain(..chosen).collect();
        let between: Vec<f64> = split
            .iter()
            .flat_map(|p| {
                let (left, middle, right) = (positions[p.left], positions[p.middle], positions[p.right]);
                [f64::midpoint(left, middle), f64::midpoint(middle, right)]
            })
            .collect();
        evaluator.expect(between.len());
        let start = positions.len();
        for (points, new) in points.iter_mut().zip(path.evaluate(evaluator, &between)?) {
            points.extend(new);
        }
        positions.extend(between);
        for (number, p) in split.iter().enumerate() {
            let new = start + 2 * number;
            panels.push(panel_of(&points, p.left, new, p.middle, p.width / 2.0));
            panels.push(panel_of(&points, p.middle, new + 1, p.right, p.width / 2.0));
        }
    }
}

/// Puts the worst panels first, until their errors make up half of all; how many those are. A panel is as bad as under
/// the target that is not finished and, against its own Σ|values|, fares worst.
fn worst(panels: &mut [Panel], positions: &[f64], standings: &[Standing], limit: usize) -> usize {
    let scales: Vec<f64> = standings
        .iter()
        .map(
            |standing| {
                if standing.finished { 0.0 } else { standing.fine.norm().max(f64::MIN_POSITIVE).recip() }
            },
        )
        .collect();
    let badness = |panel: &Panel| {
        panel.errors.iter().zip(&scales).map(|(error, scale)| error * scale).fold(0.0, f64::max)
    };
    panels.sort_by(|a, b| {
        badness(b).total_cmp(&badness(a)).then(positions[a.left].total_cmp(&positions[b.left]))
    });
    let total: f64 = panels.iter().map(badness).sum();
    let mut covered = 0.0;
    let mut chosen = 0;
    while chosen < panels.len() && covered < 0.5 * total && positions.len() + 2 * (chosen + 1) <= limit {
        covered += badness(&panels[chosen]);
        chosen += 1;
    }
    chosen.max(FEWEST_PANELS).min(panels.len()).min((limit - positions.len()) / 2).max(1)
}

fn standing(points: &[Point], last: usize, panels: &[Panel], tolerance: f64, complete: bool) -> Standing {
    let (fine, coarse) = sums(points, panels);
    let allowed = tolerance * fine.norm();
    let error = fine.distance(&coarse);
    let difference = points[last].score - points[0].score;
    let gap = (difference - fine.total()).abs();
    // Where the score is nearly that of the baseline, a gap is small against the values instead.
    let least = 1e-3 * fine.norm();
    let closed = !complete || gap <= tolerance * difference.abs().max(least);
    Standing { error, finished: error <= allowed && closed, fine }
}

fn panel_of(points: &[Vec<Point>], left: usize, middle: usize, right: usize, width: f64) -> Panel {
    let error = |points: &Vec<Point>| {
        let (l, m, r) = (&points[left], &points[middle], &points[right]);
        if l.layer.is_some() {
            let (mut fine, mut coarse) = (Sum::new(l), Sum::new(l));
            fine.add_change(l, m);
            fine.add_change(m, r);
            coarse.add_change(l, r);
            return fine.distance(&coarse);
        }
        let parts = l.parts.iter().zip(&m.parts).zip(&r.parts);
        let bend = parts.map(|((l, m), r)| {
            ndarray::Zip::from(l)
                .and(m)
                .and(r)
                .fold(0.0, |sum, l, m, r| sum + (2.0 * f64::from(*m) - f64::from(*l) - f64::from(*r)).abs())
        });
        bend.sum::<f64>() * width / 4.0
    };
    Panel { left, middle, right, width, errors: points.iter().map(error).collect() }
}

/// The integral with and without the middle points, in the order of the points so that it is always the same.
fn sums(points: &[Point], panels: &[Panel]) -> (Sum, Sum) {
    if points[0].layer.is_some() {
        let (mut fine, mut coarse) = (Sum::new(&points[0]), Sum::new(&points[0]));
        for panel in panels {
            let [left, middle, right] = [panel.left, panel.middle, panel.right].map(|at| &points[at]);
            fine.add_change(left, middle);
            fine.add_change(middle, right);
            coarse.add_change(left, right);
        }
        return (fine, coarse);
    }
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
