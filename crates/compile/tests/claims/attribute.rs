//! A method run by hand: the compiled program in the `f64` interpreter, and the sums that a host makes of its signals.

use ndarray::{ArrayD, Axis, concatenate};
use pellucid_compile::methods::{Claim, Definition, Settings};
use pellucid_compile::{Draws, Method, Nodes, Points, Program, Readout, Request, Statistic, nodes, program};
use pellucid_graph::{Dim, Graph};
use pellucid_reference::{Array, run};
use pellucid_testkit::random_graph::{Random, input_for};

/// What is done to an attribution on purpose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// A number is added to every value.
    Added(f64),
    /// The weights of the points sum to this.
    Weights(f64),
    /// Each value is averaged with the one before it, as by a blur.
    Blurred,
}

/// A method under test.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) name: &'static str,
    pub(crate) method: Method,
    pub(crate) fault: Fault,
}

impl Subject {
    /// A method of the registry, with settings that need no decision while running.
    pub(crate) fn of(definition: &Definition) -> Self {
        Self::wrapped(definition, &[])
    }

    /// The same with some settings given, such as `points=smooth`.
    pub(crate) fn wrapped(definition: &Definition, settings: &[(&str, &str)]) -> Self {
        let mut given = Vec::new();
        for parameter in definition.parameters {
            match parameter.name {
                "quadrature" => given.push(("quadrature".to_owned(), "gauss-legendre".to_owned())),
                "steps" => given.push(("steps".to_owned(), "64".to_owned())),
                "samples" => given.push(("samples".to_owned(), "3".to_owned())),
                _ => {}
            }
        }
        given.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let settings = Settings::new(definition, &given).unwrap();
        let method = definition.method(&settings).unwrap();
        let method = method.unwrap_or_else(|| panic!("{} runs on the host", definition.name));
        Self { name: definition.name, method, fault: Fault::None }
    }

    /// Every method that makes a claim; there must be one.
    pub(crate) fn all_that_claim(claim: Claim) -> Vec<Self> {
        let all = pellucid_compile::methods::ALL.iter();
        let found: Vec<Self> = all
            .filter(|definition| definition.claims.contains(&claim))
            .map(|definition| Self::of(definition))
            .collect();
        assert!(!found.is_empty(), "no method claims {}", claim.name());
        found
    }

    /// The method named `name`.
    pub(crate) fn named(name: &str) -> Self {
        let all = pellucid_compile::methods::ALL.iter();
        Self::of(all.copied().find(|definition| definition.name == name).unwrap())
    }

    pub(crate) fn with_fault(self, fault: Fault) -> Self {
        Self { fault, ..self }
    }

    pub(crate) fn with_method(self, change: impl FnOnce(&mut Method)) -> Self {
        let mut subject = self;
        change(&mut subject.method);
        subject
    }
}

/// Where an attribution is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) x: ArrayD<f64>,
    pub(crate) baseline: ArrayD<f64>,
    /// [samples, n, …].
    pub(crate) noise: ArrayD<f64>,
    /// [k, …].
    pub(crate) background: ArrayD<f64>,
    pub(crate) draws: Draws,
    pub(crate) target: Vec<i64>,
}

impl Case {
    /// A random one for the first input of `graph`, with two rows.
    pub(crate) fn random(random: &mut Random, graph: &Graph, classes: usize) -> Self {
        let mut draw = || {
            let (shape, values) = input_for(random, graph, 2);
            ArrayD::from_shape_vec(shape, values).unwrap()
        };
        let (x, baseline) = (draw(), draw());
        let samples: Vec<ArrayD<f64>> = (0..3).map(|_| draw() * 0.3).collect();
        let views: Vec<_> = samples.iter().map(|sample| sample.view().insert_axis(Axis(0))).collect();
        let noise = concatenate(Axis(0), &views).unwrap();
        let background = concatenate(Axis(0), &[x.view(), draw().view()]).unwrap();
        let target = (0..2).map(|_| i64::try_from(random.below(classes)).unwrap()).collect();
        let pick = (0..3).map(|_| i64::try_from(random.below(1 << 20)).unwrap()).collect();
        let position = (0..3).map(|_| random.between(0.0, 1.0)).collect();
        Self { x, baseline, noise, background, draws: Draws { pick, position }, target }
    }
}

/// What a method says, and what a path method needs to be judged.
#[derive(Debug, Clone)]
pub(crate) struct Attribution {
    pub(crate) values: ArrayD<f64>,
    /// Sum over the rows.
    pub(crate) score: f64,
    /// Sum over the rows, of path methods; 0 otherwise.
    pub(crate) baseline_score: f64,
}

/// Largest magnitude.
pub(crate) fn largest(values: &ArrayD<f64>) -> f64 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}

/// A compiled program that is ready to run.
pub(crate) struct Runner {
    program: Program,
    method: Method,
    symbolic: bool,
    /// Fed to programs that compare with one, for every row.
    baseline: Option<ArrayD<f64>>,
}

impl Runner {
    pub(crate) fn new(graph: &Graph, method: &Method) -> Self {
        let program = match program(graph, method, &Request::default()) {
            Ok(program) => program,
            Err(error) => panic!("{error}\n{}", graph.text()),
        };
        let rows = graph.value(graph.inputs()[0]).shape.as_ref().and_then(|shape| shape[0].value());
        Self { program, method: method.clone(), symbolic: rows.is_none(), baseline: None }
    }

    /// The same, compared with the case's baseline where the program compares.
    pub(crate) fn against(self, case: &Case) -> Self {
        Self { baseline: Some(case.baseline.clone()), ..self }
    }

    /// Σ over rows of the score, and the signal (or finished attribution), at each of some points.
    pub(crate) fn at(&self, points: &[ArrayD<f64>], target: &[i64]) -> Vec<(f64, ArrayD<f64>)> {
        self.along(points, None, target)
    }

    /// The same, for programs that take the direction of a path, of the shape of a point.
    fn along(
        &self,
        points: &[ArrayD<f64>],
        direction: Option<&ArrayD<f64>>,
        target: &[i64],
    ) -> Vec<(f64, ArrayD<f64>)> {
        if !self.symbolic {
            let sum = |(scores, signal): (Vec<f64>, ArrayD<f64>)| (scores.iter().sum(), signal);
            return points.iter().map(|point| sum(self.run(point, direction, target))).collect();
        }
        // Rows do not see each other, so all points run as one batch.
        let rows = target.len();
        let views: Vec<_> = points.iter().map(|point| point.view()).collect();
        let stacked = concatenate(Axis(0), &views).unwrap();
        let direction =
            direction.map(|direction| concatenate(Axis(0), &vec![direction.view(); points.len()]).unwrap());
        let (scores, signals) = self.run(&stacked, direction.as_ref(), &target.repeat(points.len()));
        (0..points.len())
            .map(|point| {
                let here = point * rows..(point + 1) * rows;
                let signal = signals.slice_axis(Axis(0), here.clone().into()).to_owned();
                (scores[here].iter().sum(), signal)
            })
            .collect()
    }

    fn once(&self, x: &ArrayD<f64>, target: &[i64]) -> (f64, ArrayD<f64>) {
        let (scores, signal) = self.run(x, None, target);
        (scores.iter().sum(), signal)
    }

    fn run(
        &self,
        x: &ArrayD<f64>,
        direction: Option<&ArrayD<f64>>,
        target: &[i64],
    ) -> (Vec<f64>, ArrayD<f64>) {
        let graph = &self.program.graph;
        let find = |name: &str| graph.find(name).unwrap();
        let target = Array::Int(ndarray::arr1(target).into_dyn());
        let mut given = vec![
            (graph.inputs()[0], Array::Float(x.clone())),
            (find(self.program.target.as_ref().unwrap()), target),
        ];
        for (_, name) in &self.program.directions {
            given.push((find(name), Array::Float(direction.unwrap().clone())));
        }
        if let [(_, name)] = self.program.baselines.as_slice() {
            let baseline = self.baseline.as_ref().expect("a program that compares is given a baseline");
            let rows = x.shape()[0] / baseline.shape()[0];
            let copies = vec![baseline.view(); rows];
            given.push((find(name), Array::Float(concatenate(Axis(0), &copies).unwrap())));
        }
        let wanted = [find(&self.program.score), find(&self.program.attributions[0].1)];
        let out = run(graph, &given, &wanted).unwrap();
        let float = |index: usize| out[index].as_float().unwrap();
        (float(0).iter().copied().collect(), float(1).clone())
    }

    /// The weighted mean readout over the points of a path, the scores at its ends.
    pub(crate) fn path(&self, case: &Case, rule: &Nodes) -> Attribution {
        let difference = &case.x - &case.baseline;
        let mut points = vec![case.x.clone(), case.baseline.clone()];
        points.extend(rule.positions.iter().map(|at| &case.baseline + &(&difference * *at)));
        let found = self.along(&points, Some(&difference), &case.target);
        let compared = self.method.readout == Readout::TimesDifference;
        let readouts: Vec<ArrayD<f64>> = found[2..]
            .iter()
            .map(|(_, signal)| if compared { signal * &difference } else { signal.clone() })
            .collect();
        let values = statistic(self.method.statistic, &readouts, &rule.weights);
        Attribution { values, score: found[0].0, baseline_score: found[1].0 }
    }

    fn noise(&self, case: &Case) -> Attribution {
        let points: Vec<ArrayD<f64>> = case.noise.axis_iter(Axis(0)).map(|noise| &case.x + &noise).collect();
        let readouts: Vec<ArrayD<f64>> =
            self.at(&points, &case.target).into_iter().map(|(_, readout)| readout).collect();
        self.averaged(case, &readouts)
    }

    /// Points between drawn rows of the background and the input, with noise where the method has some.
    pub(crate) fn background(&self, case: &Case, draws: &Draws) -> Attribution {
        let rows = case.background.shape()[0];
        let (mut points, mut differences) = (Vec::new(), Vec::new());
        for (sample, (pick, position)) in draws.pick.iter().zip(&draws.position).enumerate() {
            let row = usize::try_from(*pick).unwrap() % rows;
            let b = case.background.index_axis(Axis(0), row).insert_axis(Axis(0)).to_owned();
            let mut x = case.x.clone();
            if self.method.points.has_noise() {
                x += &case.noise.index_axis(Axis(0), sample);
            }
            let difference = x - &b;
            points.push(&b + &(&difference * *position));
            differences.push(difference);
        }
        let found = self.at(&points, &case.target);
        let readouts: Vec<ArrayD<f64>> =
            found.iter().zip(&differences).map(|((_, signal), difference)| signal * difference).collect();
        self.averaged(case, &readouts)
    }

    fn averaged(&self, case: &Case, readouts: &[ArrayD<f64>]) -> Attribution {
        let weights = vec![1.0 / readouts.len() as f64; readouts.len()];
        let values = statistic(self.method.statistic, readouts, &weights);
        let score = self.once(&case.x, &case.target).0;
        Attribution { values, score, baseline_score: 0.0 }
    }
}

/// Σ between neighbouring points, both ends included, of the mean signal × the change of the layer.
fn changes(graph: &Graph, method: &Method, case: &Case, positions: &[f64]) -> Attribution {
    let difference = &case.x - &case.baseline;
    let mut points = vec![case.baseline.clone()];
    points.extend(positions.iter().map(|at| &case.baseline + &(&difference * *at)));
    points.push(case.x.clone());
    let signals = Runner::new(graph, method).at(&points, &case.target);
    let layer = Method { readout: Readout::Value, ..method.clone() };
    let layers = Runner::new(graph, &layer).at(&points, &case.target);
    let mut values = ArrayD::<f64>::zeros(signals[0].1.raw_dim());
    for (signals, layers) in signals.windows(2).zip(layers.windows(2)) {
        values += &((&signals[0].1 + &signals[1].1) * 0.5 * (&layers[1].1 - &layers[0].1));
    }
    Attribution { values, score: signals[signals.len() - 1].0, baseline_score: signals[0].0 }
}

/// What becomes of readouts, by the definition.
fn statistic(statistic: Statistic, readouts: &[ArrayD<f64>], weights: &[f64]) -> ArrayD<f64> {
    let mean = |power: i32| {
        let mut sum = ArrayD::<f64>::zeros(readouts[0].raw_dim());
        for (readout, weight) in readouts.iter().zip(weights) {
            sum += &(readout.mapv(|value| value.powi(power)) * *weight);
        }
        sum
    };
    match statistic {
        Statistic::Mean => mean(1),
        Statistic::MeanSquare => mean(2),
        Statistic::Variance => {
            let center = mean(1);
            let mut sum = ArrayD::<f64>::zeros(readouts[0].raw_dim());
            for (readout, weight) in readouts.iter().zip(weights) {
                sum += &((readout - &center).mapv(|value| value * value) * *weight);
            }
            sum
        }
    }
}

/// The attribution of a subject, its fault included.
pub(crate) fn attribute(subject: &Subject, graph: &Graph, case: &Case) -> Attribution {
    let runner = Runner::new(graph, &subject.method);
    let mut found = match subject.method.points {
        Points::Once => {
            let runner = runner.against(case);
            let (score, values) = runner.once(&case.x, &case.target);
            let compares = subject.method.rules.compares();
            let baseline_score = if compares { runner.once(&case.baseline, &case.target).0 } else { 0.0 };
            Attribution { values, score, baseline_score }
        }
        Points::Path { quadrature, steps } if subject.method.readout == Readout::TimesChange => {
            changes(graph, &subject.method, case, &nodes(quadrature, steps).unwrap().positions)
        }
        Points::Path { quadrature, steps } => {
            let mut rule = nodes(quadrature, steps).unwrap();
            if let Fault::Weights(sum) = subject.fault {
                rule.weights.iter_mut().for_each(|weight| *weight *= sum);
            }
            runner.path(case, &rule)
        }
        Points::Noise { .. } => runner.noise(case),
        Points::Each => {
            let (mut score, mut ends) = (0.0, 0.0);
            let mut values = ArrayD::zeros(case.x.raw_dim());
            let rows = case.background.shape()[0];
            let mut runner = runner;
            for row in 0..rows {
                let b = case.background.index_axis(Axis(0), row).insert_axis(Axis(0));
                let b = b.broadcast(case.x.raw_dim()).unwrap().to_owned();
                let here = Case { baseline: b, ..case.clone() };
                runner = runner.against(&here);
                let (at, found) = runner.once(&here.x, &here.target);
                score = at;
                ends += runner.once(&here.baseline, &here.target).0 / rows as f64;
                values += &(found / rows as f64);
            }
            Attribution { values, score, baseline_score: ends }
        }
        Points::Background { .. } => {
            let mut found = runner.background(case, &case.draws);
            if let Fault::Weights(sum) = subject.fault {
                found.values *= sum;
            }
            found
        }
    };
    match subject.fault {
        Fault::None | Fault::Weights(_) => {}
        Fault::Added(number) => found.values += number,
        Fault::Blurred => {
            let last = Axis(found.values.ndim() - 1);
            let before = found.values.clone();
            for index in 1..before.len_of(last) {
                let mean = (&before.index_axis(last, index) + &before.index_axis(last, index - 1)) * 0.5;
                found.values.index_axis_mut(last, index).assign(&mean);
            }
        }
    }
    found
}

/// Sizes of the first input after the rows.
pub(crate) fn sizes(graph: &Graph) -> Vec<usize> {
    let shape = graph.value(graph.inputs()[0]).shape.clone().unwrap();
    shape[1..].iter().map(|dim: &Dim| dim.size().unwrap()).collect()
}
