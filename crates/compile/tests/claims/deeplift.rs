//! `DeepLIFT`: maxima by hand; `RevealCancel` by the paper's examples and a dense version of its formulas, its additivity over
//! random networks, and what it refuses.

use ndarray::{Array1, Array2, ArrayD, IxDyn};
use pellucid_compile::methods::find_compiled;
use pellucid_compile::rules::{Parted, RevealCancel, Rule, RuleMap};
use pellucid_compile::step::{Signals, Step};
use pellucid_compile::{Builder, CompileError, Keep, Method, Request, Target, Var, program};
use pellucid_graph::{Attribute, Dim, ElementType, Graph};
use pellucid_reference::{Array, run};
use pellucid_testkit::random_graph::Random;

use crate::attribute::Subject;

const NETWORKS: u64 = 60;
const CLASSES: usize = 2;

fn method() -> Method {
    Subject::wrapped(find_compiled("deeplift").unwrap(), &[("rule", "reveal-cancel")]).method
}

/// Score, baseline score and values of the first class.
fn explained(
    graph: &Graph,
    method: &Method,
    x: &ArrayD<f64>,
    baseline: &ArrayD<f64>,
) -> (f64, f64, ArrayD<f64>) {
    let request = Request { target: Target::Index(0), ..Request::default() };
    let program =
        program(graph, method, &request).unwrap_or_else(|error| panic!("{error}\n{}", graph.text()));
    let graph = &program.graph;
    let find = |name: &str| graph.find(name).unwrap();
    let given = [
        (graph.inputs()[0], Array::Float(x.clone())),
        (find(&program.baselines[0].1), Array::Float(baseline.clone())),
    ];
    let wanted = [&program.score, program.baseline_score.as_ref().unwrap(), &program.attributions[0].1];
    let found = run(graph, &given, &wanted.map(|name| find(name))).unwrap();
    let float = |index: usize| found[index].as_float().unwrap();
    (float(0).sum(), float(1).sum(), float(2).clone())
}

fn row(values: &[f64]) -> ArrayD<f64> {
    ArrayD::from_shape_vec(IxDyn(&[1, values.len()]), values.to_vec()).unwrap()
}

/// First + sign · max(0, W x), of two inputs.
fn extreme(sign: f64, weights: [f64; 2]) -> Graph {
    let builder = Builder::new(Graph::new());
    let y = {
        let x = builder.input("x", ElementType::F64, vec![Dim::known(1), Dim::known(2)]);
        let of = |weights: &[f64]| x.matmul(builder.values(ElementType::F64, vec![2, 1], weights));
        let h = of(&weights).relu();
        let first = of(&[1.0, 0.0]);
        (if sign > 0.0 { first + h } else { first - h }).id()
    };
    let mut graph = builder.finish().unwrap();
    graph.set_outputs(vec![y]);
    graph
}

/// At (3, 1) from 0: min(a, b) = a − max(0, a − b), whose parts +3 and −1 make 5/2 and −1/2; max(a, b) = a + max(0, b − a),
/// whose parts +1 and −3 make 1/2 and −1/2. Rescale gives (0, 1) and (3, 0).
#[test]
fn the_papers_examples_by_hand() {
    let (x, zero) = (row(&[3.0, 1.0]), row(&[0.0, 0.0]));
    for (graph, expected, rescaled) in [
        (extreme(-1.0, [1.0, -1.0]), [0.5, 0.5], [0.0, 1.0]),
        (extreme(1.0, [-1.0, 1.0]), [2.5, 0.5], [3.0, 0.0]),
    ] {
        let found = |method: &Method| explained(&graph, method, &x, &zero).2;
        let rescale = Subject::named("deeplift").method;
        assert!((found(&method()) - row(&expected)).iter().all(|d| d.abs() < 1e-12));
        assert!((found(&rescale) - row(&rescaled)).iter().all(|d| d.abs() < 1e-12));
    }
}

/// A mean, or a sum of means.
type Mean = for<'g> fn(Var<'g>) -> Var<'g>;

/// Means over 7, 49 and 3 numbers, none of whose shares is a float32: a derivative that multiplies by the share would be off
/// by its rounding, which the interpreter's float64 shows.
#[test]
fn means_in_files_of_float32_lose_nothing_to_rounding() {
    let mut random = Random::new(71);
    let shape = [1, 3, 7, 7];
    let means: [(&str, Mean); 4] = [
        ("GlobalAveragePool", |x| x.apply("GlobalAveragePool").reshape(&[1, 3])),
        ("ReduceMean", |x| x.mean(&[2, 3], Keep::None)),
        ("AveragePool", |x| {
            let windows = ("kernel_shape", Attribute::Ints(vec![7, 1]));
            x.builder().op("AveragePool", &[x], &[windows]).mean(&[2, 3], Keep::None)
        }),
        ("Mean", |x| {
            x.builder().op("Mean", &[x.sigmoid(), x.apply("Tanh"), x.relu()], &[]).sum(&[2, 3], Keep::None)
        }),
    ];
    for (name, mean) in means {
        let builder = Builder::new(Graph::new());
        let weights = random.numbers(3 * CLASSES, -1.0, 1.0);
        let y = {
            let sizes = shape.iter().map(|size| Dim::known(*size)).collect();
            let x = builder.input("x", ElementType::F32, sizes);
            mean(x).matmul(builder.values(ElementType::F32, vec![3, CLASSES], &weights)).id()
        };
        let mut graph = builder.finish().unwrap();
        graph.set_outputs(vec![y]);
        let sizes = shape.map(|size| usize::try_from(size).unwrap());
        let mut draw = || ArrayD::from_shape_vec(IxDyn(&sizes), random.numbers(147, -1.0, 1.0)).unwrap();
        let (x, baseline) = (draw(), draw());
        let (score, start, values) = explained(&graph, &Subject::named("deeplift").method, &x, &baseline);
        let (gap, absolute) = ((score - start - values.sum()).abs(), values.mapv(f64::abs).sum());
        assert!(absolute > 0.1 && gap <= 1e-12 * absolute, "{name}: {gap:e} of {absolute}");
    }
}

/// Weights and bias of a fully connected layer.
type Weights = (Array2<f64>, Array1<f64>);

/// The formulas of the paper's sections 3.5.1 and 3.5.3, a term at a time, of fully connected layers with rectifiers
/// between.
fn dense(layers: &[Weights], x: &Array1<f64>, x0: &Array1<f64>) -> Array1<f64> {
    let relu = |v: f64| v.max(0.0);
    let mut values = vec![(x.clone(), x0.clone())];
    for (number, (w, b)) in layers.iter().enumerate() {
        let (x, x0) = values.last().unwrap();
        let of = |x: &Array1<f64>| {
            let x = if number == 0 { x.clone() } else { x.mapv(relu) };
            x.dot(w) + b
        };
        values.push((of(x), of(x0)));
    }
    let mut multipliers = vec![[1.0, 1.0]];
    for (number, (w, _)) in layers.iter().enumerate().rev() {
        let (x, x0) = &values[number];
        let entering = |v: &Array1<f64>| if number == 0 { v.clone() } else { v.mapv(relu) };
        let difference = entering(x) - entering(x0);
        let mut before = vec![0.0; x.len()];
        for (i, before) in before.iter_mut().enumerate() {
            for (j, [positive, negative]) in multipliers.iter().enumerate() {
                let term = w[[i, j]] * difference[i];
                *before += w[[i, j]]
                    * match term {
                        t if t > 0.0 => *positive,
                        t if t < 0.0 => *negative,
                        _ => (positive + negative) / 2.0,
                    };
            }
        }
        if number == 0 {
            return Array1::from(before) * &difference;
        }
        // Through the rectifiers, whose inputs are sums over the layer before.
        let (w, _) = &layers[number - 1];
        let (u, u0) = &values[number - 1];
        let entering = |v: &Array1<f64>| if number == 1 { v.clone() } else { v.mapv(relu) };
        let terms = entering(u) - entering(u0);
        multipliers = (0..x.len())
            .map(|j| {
                let parts: Vec<f64> = (0..terms.len()).map(|i| w[[i, j]] * terms[i]).collect();
                let up: f64 = parts.iter().filter(|part| **part > 0.0).sum();
                let down: f64 = parts.iter().filter(|part| **part < 0.0).sum();
                let (y, y0) = (relu(x[j]), relu(x0[j]));
                let (raised, lowered) = (relu(x0[j] + up), relu(x0[j] + down));
                let rise = f64::midpoint(raised - y0, y - lowered);
                let fall = f64::midpoint(lowered - y0, y - raised);
                let slope = f64::midpoint(f64::from(x[j] > 0.0), f64::from(x0[j] > 0.0));
                let ratio = |change: f64, part: f64| if part.abs() > 1e-12 { change / part } else { slope };
                [before[j] * ratio(rise, up), before[j] * ratio(fall, down)]
            })
            .collect();
    }
    Array1::from(multipliers.iter().map(|m| m[0]).collect::<Vec<_>>())
}

#[test]
fn fully_connected_layers_agree_with_the_formulas() {
    let mut apart = 0;
    for seed in 0..NETWORKS {
        let mut random = Random::new(20_000 + seed);
        let mut sizes = vec![random.whole(2, 5)];
        sizes.extend((0..random.whole(1, 3)).map(|_| random.whole(2, 6)));
        sizes.push(1);
        let layers: Vec<Weights> = sizes
            .windows(2)
            .map(|pair| {
                let w = random.numbers(pair[0] * pair[1], -1.0, 1.0);
                (
                    Array2::from_shape_vec((pair[0], pair[1]), w).unwrap(),
                    random.numbers(pair[1], -0.5, 0.5).into(),
                )
            })
            .collect();
        let builder = Builder::new(Graph::new());
        let y = {
            let mut value = builder.input("x", ElementType::F64, vec![Dim::known(1), Dim::from(sizes[0])]);
            for (number, (w, b)) in layers.iter().enumerate() {
                let value_before = if number == 0 { value } else { value.relu() };
                let flat: Vec<f64> = w.iter().copied().collect();
                let w = builder.values(ElementType::F64, vec![w.nrows(), w.ncols()], &flat);
                let bias = builder.values(ElementType::F64, vec![b.len()], b.as_slice().unwrap());
                value = if random.chance(0.5) {
                    builder.op("Gemm", &[value_before, w, bias], &[])
                } else {
                    value_before.matmul(w) + bias
                };
            }
            value.id()
        };
        let mut graph = builder.finish().unwrap();
        graph.set_outputs(vec![y]);
        let draw = |random: &mut Random| Array1::from(random.numbers(sizes[0], -2.0, 2.0));
        let (x, x0) = (draw(&mut random), draw(&mut random));
        let wanted = dense(&layers, &x, &x0);
        let shaped = |v: &Array1<f64>| row(v.as_slice().unwrap());
        let found = explained(&graph, &method(), &shaped(&x), &shaped(&x0)).2;
        let rescaled = explained(&graph, &Subject::named("deeplift").method, &shaped(&x), &shaped(&x0)).2;
        let size = wanted.iter().fold(1e-9, |most: f64, value| most.max(value.abs()));
        let far = |values: &ArrayD<f64>| {
            values.iter().zip(&wanted).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs())) / size
        };
        assert!(far(&found) < 1e-9, "seed {seed}: {found} is not {wanted}");
        apart += usize::from(far(&rescaled) > 1e-2);
    }
    assert!(apart > 20, "the rescale rule says the same of all but {apart} networks");
}

fn matrix<'g>(random: &mut Random, x: Var<'g>, outputs: usize) -> Var<'g> {
    let inputs = x.size(1).unwrap();
    let weights = random.numbers(inputs * outputs, -1.0, 1.0);
    x.matmul(x.builder().values(ElementType::F64, vec![inputs, outputs], &weights))
}

fn convolution<'g>(random: &mut Random, x: Var<'g>, outputs: usize) -> Var<'g> {
    let inputs = x.size(1).unwrap();
    let weights = random.numbers(inputs * outputs * 9, -1.0, 1.0);
    let builder = x.builder();
    let weights = builder.values(ElementType::F64, vec![outputs, inputs, 3, 3], &weights);
    let bias = builder.values(ElementType::F64, vec![outputs], &random.numbers(outputs, -0.5, 0.5));
    builder.op("Conv", &[x, weights, bias], &[("pads", Attribute::Ints(vec![1; 4]))])
}

/// What may stand between a layer and its rectifier.
fn between<'g>(random: &mut Random, x: Var<'g>, other: Var<'g>) -> Var<'g> {
    let builder = x.builder();
    let channels = x.size(1).unwrap();
    let by_channel = |random: &mut Random| {
        builder.values(ElementType::F64, vec![channels, 1, 1], &random.numbers(channels, -1.0, 1.0))
    };
    match random.below(6) {
        0 => {
            let mut of = |low, high| {
                builder.values(ElementType::F64, vec![channels], &random.numbers(channels, low, high))
            };
            let (scale, shift, mean, variance) = (of(-1.0, 1.0), of(-0.5, 0.5), of(-0.5, 0.5), of(0.5, 2.0));
            builder.op("BatchNormalization", &[x, scale, shift, mean, variance], &[])
        }
        1 => x + other,
        2 => other - x * by_channel(random),
        3 => builder.concat(&[x, other], 1).slice(1, 1, i64::try_from(2 * channels).unwrap(), 2).pad(
            &[0, 0, 0, 1],
            &[0; 4],
            0.3,
        ),
        4 => x / by_channel(random) + by_channel(random),
        _ => x,
    }
}

/// A random network of layers, rectifiers and what joins them, with biases.
fn network(random: &mut Random) -> (Graph, ArrayD<f64>, ArrayD<f64>) {
    let sizes = [1, 2, random.whole(3, 5), random.whole(3, 5)];
    let builder = Builder::new(Graph::new());
    let y = {
        let shape: Vec<Dim> = sizes.iter().map(|size| Dim::from(*size)).collect();
        let mut value = builder.input("x", ElementType::F64, shape);
        for _ in 0..random.whole(1, 3) {
            let channels = value.size(1).unwrap();
            let layer = convolution(random, value, channels);
            let joined = between(random, layer, value);
            value = match random.below(4) {
                0 => builder.op("LeakyRelu", &[joined], &[("alpha", Attribute::Float(0.2))]),
                1 => builder.op(
                    "Clip",
                    &[joined, builder.scalar(ElementType::F64, 0.0), builder.scalar(ElementType::F64, 1.5)],
                    &[],
                ),
                2 => joined + joined.relu(),
                _ => joined.relu(),
            };
        }
        let flat = match random.below(3) {
            0 => builder.op("GlobalAveragePool", &[value], &[]).squeeze(&[2, 3]),
            1 => value.mean(&[2, 3], Keep::None),
            _ => builder.op("Flatten", &[value], &[]),
        };
        let hidden = matrix(random, flat, 4).relu();
        matrix(random, hidden, CLASSES).id()
    };
    let mut graph = builder.finish().unwrap();
    graph.set_outputs(vec![y]);
    let mut draw = || {
        let count = sizes.iter().product();
        ArrayD::from_shape_vec(IxDyn(&sizes), random.numbers(count, -1.5, 1.5)).unwrap()
    };
    let (x, baseline) = (draw(), draw());
    (graph, x, baseline)
}

/// The largest |gap| / Σ|values| over random networks, and how many were seen.
fn lacking(method: &Method) -> (f64, usize) {
    let (mut most, mut seen) = (0.0f64, 0);
    for seed in 0..NETWORKS {
        let mut random = Random::new(30_000 + seed);
        let (graph, x, baseline) = network(&mut random);
        let (score, start, values) = explained(&graph, method, &x, &baseline);
        let size: f64 = values.iter().map(|value| value.abs()).sum();
        if size > 1e-9 {
            seen += 1;
            let share = (score - start - values.sum()).abs() / size;
            most = if share.is_nan() { f64::INFINITY } else { most.max(share) };
        }
    }
    (most, seen)
}

#[test]
fn values_add_up() {
    let (most, seen) = lacking(&method());
    assert!(most < 1e-9 && seen > 40, "of {seen} networks one lacks {most} of its values");
}

/// The rule, but rectifiers pass 1 % too much.
#[derive(Debug)]
struct TooMuch;

impl Rule for TooMuch {
    fn name(&self) -> &'static str {
        "too-much"
    }

    fn backward<'g>(&self, step: &Step<'g>) -> Result<Signals<'g>, CompileError> {
        RevealCancel.backward(step)
    }

    fn parted<'g>(&self, step: &Step<'g>) -> Result<Parted<'g>, CompileError> {
        let Parted { whole, apart } = RevealCancel.parted(step)?;
        let more = |signals: Signals<'g>| -> Signals<'g> {
            signals.into_iter().map(|signal| signal.map(|signal: Var<'g>| signal * 1.01)).collect()
        };
        Ok(Parted { whole: more(whole), apart: more(apart) })
    }

    fn compares(&self) -> bool {
        true
    }
}

#[test]
fn a_rectifier_that_passes_too_much_is_caught() {
    let rectifiers = RuleMap::at_rectifiers(TooMuch).choices()[..1].to_vec();
    let sabotaged = Method { rules: method().rules.before(rectifiers), ..method() };
    assert!(lacking(&sabotaged).0 > 1e-4);
}

#[test]
fn other_operators_are_refused_by_name() {
    let refused = |made: &dyn for<'g> Fn(Var<'g>) -> Var<'g>| {
        let builder = Builder::new(Graph::new());
        let y = {
            let shape = [1, 2, 4, 4].map(Dim::known).to_vec();
            let value = made(builder.input("x", ElementType::F64, shape));
            builder.op("Flatten", &[value], &[]).id()
        };
        let mut graph = builder.finish().unwrap();
        graph.set_outputs(vec![y]);
        match program(&graph, &method(), &Request::default()) {
            Err(CompileError::Unsupported(offences)) => {
                offences.into_iter().map(|offence| (offence.operator, offence.problem)).collect::<Vec<_>>()
            }
            other => panic!("it is not refused: {:?}", other.map(|program| program.score)),
        }
    };
    let window = [("kernel_shape", Attribute::Ints(vec![2, 2]))];
    let found = refused(&|x| x.builder().op("MaxPool", &[x.sigmoid() * x], &window));
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Sigmoid", "Mul", "MaxPool"]);
    assert_eq!(
        found[2].1,
        "reveal-cancel is of linear operators and rectifiers, and this select is neither: use rule=rescale"
    );
    let found = refused(&|x| x.builder().op("AveragePool", &[x], &window).relu());
    assert!(
        found[0].1.contains("what raises and what lowers the result of this pooling before a rectifier"),
        "{found:?}"
    );
}

/// The sum of maxima over windows of two, of [1, 1, k].
fn maxima(rectified: bool, width: usize) -> Graph {
    let builder = Builder::new(Graph::new());
    let y = {
        let x = builder.input("x", ElementType::F64, [1, 1, width].map(Dim::from).to_vec());
        let x = if rectified { x.relu() } else { x };
        builder.op("MaxPool", &[x], &[("kernel_shape", Attribute::Ints(vec![2]))]).sum(&[2], Keep::None).id()
    };
    let mut graph = builder.finish().unwrap();
    graph.set_outputs(vec![y]);
    graph
}

/// What `goldens/deeplift_references.py` shows of Captum in its `differences`.
#[test]
fn maxima_by_hand() {
    type Case = (bool, &'static [f64], &'static [f64], &'static [f64]);
    let cases: [Case; 5] = [
        // Both windows rise from 0 to 2 by the middle.
        (false, &[0.0, 2.0, 1.0], &[0.0; 3], &[0.0, 4.0, 0.0]),
        // From 3 to 1, since the second falls.
        (false, &[1.0, 0.0], &[0.0, 3.0], &[0.0, -2.0]),
        (true, &[1.0, 0.0], &[0.0, 3.0], &[0.0, -2.0]),
        // From 3 to 2: the first may fall as far as it likes.
        (false, &[1.0, 2.0], &[3.0, 3.0], &[0.0, -1.0]),
        (true, &[2.0, 2.0], &[1.0, 0.5], &[1.0, 0.0]),
    ];
    for (rectified, x, baseline, expected) in cases {
        let shaped =
            |values: &[f64]| ArrayD::from_shape_vec(IxDyn(&[1, 1, values.len()]), values.to_vec()).unwrap();
        let graph = maxima(rectified, x.len());
        let found = explained(&graph, &Subject::named("deeplift").method, &shaped(x), &shaped(baseline)).2;
        assert!((&found - &shaped(expected)).iter().all(|d| d.abs() < 1e-12), "{found} is not {expected:?}");
    }
}
