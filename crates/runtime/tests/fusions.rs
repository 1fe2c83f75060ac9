//! Patterns that the engine fuses when it loads a model, or lowering when it is opened: small graphs of several nodes, asked for their output alone
//! and for every value, against the interpreter.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod engines;

use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Tensor, ValueId};
use pellucid_runtime::{Array, Engine, Options, open};

/// A graph being built, and what to feed it.
struct Net {
    graph: Graph,
    fed: Vec<(String, Array)>,
    state: u64,
    free: bool,
}

impl Net {
    fn new(free: bool) -> Self {
        Self { graph: Graph::new(), fed: Vec::new(), state: 88_172_645_463_325_252, free }
    }

    fn numbers(&mut self, shape: &[usize]) -> Vec<f32> {
        let mut next = || {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            f32::from(u16::try_from(self.state >> 48).unwrap()) / 32768.0 - 1.0
        };
        (0..shape.iter().product()).map(|_| next()).collect()
    }

    fn input(&mut self, shape: &[usize]) -> ValueId {
        let name = format!("in{}", self.fed.len());
        let values = self.numbers(shape);
        self.fed.push((name.clone(), Array::from_f32(shape, values).unwrap()));
        let dims = shape
            .iter()
            .enumerate()
            .map(
                |(axis, size)| {
                    if self.free && axis == 0 { Dim::symbol(format!("s{size}")) } else { Dim::from(*size) }
                },
            )
            .collect();
        self.graph.add_input(name, ElementType::F32, Some(dims)).unwrap()
    }

    fn weight(&mut self, shape: &[usize]) -> ValueId {
        let values = self.numbers(shape);
        self.constant(shape, &values)
    }

    fn constant(&mut self, shape: &[usize], values: &[f32]) -> ValueId {
        let name = self.graph.fresh_name("c");
        self.graph.add_constant(name, Tensor::from_f32(shape.to_vec(), values).unwrap()).unwrap()
    }

    fn list(&mut self, values: &[i64]) -> ValueId {
        let name = self.graph.fresh_name("l");
        self.graph.add_constant(name, Tensor::integers(values)).unwrap()
    }

    fn op(&mut self, operator: &str, inputs: &[ValueId]) -> ValueId {
        self.push(NewNode::new(operator, inputs, ""))
    }

    fn push(&mut self, node: NewNode) -> ValueId {
        let outputs = vec![self.graph.fresh_name(&node.operator)];
        self.graph.push_one(NewNode { outputs, ..node }).unwrap()
    }

    fn mean(&mut self, x: ValueId, axes: &[i64]) -> ValueId {
        let axes = self.list(axes);
        self.op("ReduceMean", &[x, axes])
    }

    fn check(mut self, name: &str, output: ValueId) -> Result<(), String> {
        self.graph.add_output(output).unwrap();
        let every: Vec<String> = self
            .graph
            .value_ids()
            .filter(|id| self.graph.producer_of(*id).is_some())
            .map(|id| self.graph.value(id).name.clone())
            .collect();
        let every: Vec<&str> = every.iter().map(String::as_str).collect();
        let last = [self.graph.value(output).name.as_str()];
        let inputs: Vec<(&str, &Array)> =
            self.fed.iter().map(|(name, array)| (name.as_str(), array)).collect();
        let reference = Options { engine: Engine::Reference, ..Options::default() };
        let expected = open(&self.graph, &reference).unwrap();
        for engine in engines::tested() {
            let place = |problem: String| format!("{name} on {}: {problem}", engine.name());
            let options = Options { engine, ..Options::default() };
            let session = open(&self.graph, &options).map_err(|e| place(e.to_string()))?;
            for names in [&last[..], &every] {
                let expected =
                    expected.run(&inputs, names).map_err(|e| format!("{name}: the interpreter: {e}"))?;
                let computed = session.run(&inputs, names).map_err(|e| place(e.to_string()))?;
                for ((value, computed), expected) in names.iter().zip(&computed).zip(&expected) {
                    near(computed, expected).map_err(|e| place(format!("{value}: {e}")))?;
                }
            }
        }
        Ok(())
    }
}

fn near(computed: &Array, expected: &Array) -> Result<(), String> {
    if computed.shape() != expected.shape() {
        return Err(format!("shape {:?}, expected {:?}", computed.shape(), expected.shape()));
    }
    let (computed, expected) = (computed.to_f64(), expected.to_f64());
    let scale = expected.iter().fold(1e-3, |a: f64, b| a.max(b.abs()));
    for (x, y) in computed.iter().zip(&expected) {
        if (x - y).abs() > 1e-5 * scale || x.is_nan() {
            return Err(format!("{x}, expected {y}"));
        }
    }
    Ok(())
}

type Pattern = (&'static str, fn(&mut Net) -> ValueId);

/// Constants of one element whose axes lift the rank of the result.
fn lifting() -> Vec<Pattern> {
    vec![
        ("x + 0, lifted", |n| {
            let x = n.input(&[3]);
            let c = n.constant(&[1, 1], &[0.0]);
            n.op("Add", &[x, c])
        }),
        ("x · 1, lifted", |n| {
            let x = n.input(&[2, 3]);
            let c = n.constant(&[1, 1, 1], &[1.0]);
            n.op("Mul", &[x, c])
        }),
        ("x / 1, lifted", |n| {
            let x = n.input(&[3]);
            let c = n.constant(&[1, 1], &[1.0]);
            n.op("Div", &[x, c])
        }),
        ("x − 0, then more", |n| {
            let x = n.input(&[3]);
            let c = n.constant(&[1, 1], &[0.0]);
            let y = n.op("Sub", &[x, c]);
            n.op("Exp", &[y])
        }),
        ("1 / x, lifted", |n| {
            let x = n.input(&[3]);
            let x = n.op("Exp", &[x]);
            let c = n.constant(&[1, 1], &[1.0]);
            n.op("Div", &[c, x])
        }),
        ("scaled product, lifted", |n| {
            let (a, b) = (n.input(&[2, 3]), n.input(&[3, 4]));
            let c = n.constant(&[1, 1, 1], &[0.5]);
            let y = n.op("MatMul", &[a, b]);
            n.op("Mul", &[y, c])
        }),
        ("product of scaled, lifted", |n| {
            let (a, b) = (n.input(&[2, 3]), n.input(&[3, 4]));
            let c = n.constant(&[1, 1, 1], &[0.5]);
            let a = n.op("Mul", &[a, c]);
            n.op("MatMul", &[a, b])
        }),
        ("x + 0 of more elements", |n| {
            let x = n.input(&[3, 1]);
            let c = n.constant(&[1, 2], &[0.0, 0.0]);
            n.op("Add", &[x, c])
        }),
    ]
}

fn products() -> Vec<Pattern> {
    vec![
        ("product and bias", |n| {
            let (a, b, c) = (n.input(&[2, 3]), n.weight(&[3, 4]), n.weight(&[4]));
            let y = n.op("MatMul", &[a, b]);
            n.op("Add", &[y, c])
        }),
        ("product and bias of one", |n| {
            let (a, b, c) = (n.input(&[2, 3]), n.weight(&[3, 4]), n.weight(&[1]));
            let y = n.op("MatMul", &[a, b]);
            n.op("Add", &[y, c])
        }),
        ("product of one column and a longer bias", |n| {
            let (a, b, c) = (n.input(&[2, 3]), n.weight(&[3, 1]), n.weight(&[5]));
            let y = n.op("MatMul", &[a, b]);
            n.op("Add", &[y, c])
        }),
        ("vector times matrix and bias", |n| {
            let (a, b, c) = (n.input(&[3]), n.weight(&[3, 4]), n.weight(&[4]));
            let y = n.op("MatMul", &[a, b]);
            n.op("Add", &[y, c])
        }),
        ("matrix times vector and bias", |n| {
            let (a, b, c) = (n.input(&[4, 3]), n.weight(&[3]), n.weight(&[4]));
            let y = n.op("MatMul", &[a, b]);
            n.op("Add", &[y, c])
        }),
        ("scaled product of batches", |n| {
            let (a, b) = (n.input(&[2, 2, 3, 4]), n.input(&[2, 2, 3, 4]));
            let b =
                n.push(NewNode::new("Transpose", &[b], "").with("perm", Attribute::Ints(vec![0, 1, 3, 2])));
            let c = n.constant(&[], &[0.35]);
            let a = n.op("Mul", &[a, c]);
            let b = n.op("Mul", &[b, c]);
            let y = n.op("MatMul", &[a, b]);
            let d = n.constant(&[], &[3.0]);
            n.op("Div", &[y, d])
        }),
        ("transposed everywhere", |n| {
            let (a, b) = (n.input(&[3, 2]), n.input(&[4, 3]));
            let a = n.op("Transpose", &[a]);
            let b = n.op("Transpose", &[b]);
            let y = n.op("MatMul", &[a, b]);
            let y = n.op("Transpose", &[y]);
            n.op("Relu", &[y])
        }),
        ("rows times a transposed weight", |n| {
            let (x, w) = (n.input(&[2, 3, 4]), n.weight(&[5, 4]));
            let w = n.op("Transpose", &[w]);
            n.op("MatMul", &[x, w])
        }),
        ("transposed matrix times a weight and its transposition", |n| {
            let (x, w) = (n.input(&[4, 3]), n.weight(&[4, 5]));
            let x = n.op("Transpose", &[x]);
            let y = n.op("MatMul", &[x, w]);
            let w = n.op("Transpose", &[w]);
            let z = n.op("MatMul", &[y, w]);
            let z = n.op("Transpose", &[z]);
            n.op("MatMul", &[w, z])
        }),
        ("attention", |n| {
            let x = n.input(&[2, 3, 8]);
            let split = |n: &mut Net, order: [i64; 4]| {
                let w = n.weight(&[8, 8]);
                let y = n.op("MatMul", &[x, w]);
                let shape = n.list(&[0, 3, 2, 4]);
                let y = n.op("Reshape", &[y, shape]);
                n.push(NewNode::new("Transpose", &[y], "").with("perm", Attribute::Ints(order.to_vec())))
            };
            let q = split(n, [0, 2, 1, 3]);
            let k = split(n, [0, 2, 3, 1]);
            let v = split(n, [0, 2, 1, 3]);
            let y = n.op("MatMul", &[q, k]);
            let c = n.constant(&[], &[2.0]);
            let y = n.op("Div", &[y, c]);
            let y = n.op("Softmax", &[y]);
            let y = n.op("MatMul", &[y, v]);
            let y =
                n.push(NewNode::new("Transpose", &[y], "").with("perm", Attribute::Ints(vec![0, 2, 1, 3])));
            let shape = n.list(&[0, 0, -1]);
            n.op("Reshape", &[y, shape])
        }),
        ("masked softmax, mask wider", |n| {
            let (a, m) = (n.input(&[1, 4]), n.input(&[3, 4]));
            let y = n.op("Add", &[a, m]);
            n.op("Softmax", &[y])
        }),
        ("masked softmax, mask narrower", |n| {
            let (a, m) = (n.input(&[2, 3, 4]), n.weight(&[4]));
            let y = n.op("Add", &[m, a]);
            n.op("Softmax", &[y])
        }),
        ("masked softmax along another axis", |n| {
            let (a, m) = (n.input(&[2, 3, 4]), n.input(&[2, 3, 4]));
            let y = n.op("Add", &[m, a]);
            n.push(NewNode::new("Softmax", &[y], "").with("axis", Attribute::Int(1)))
        }),
    ]
}

/// Layer normalisation in pieces over an axis, with a scale and bias of some shape.
fn pieces(n: &mut Net, shape: &[usize], axis: i64, scale: &[usize], bias: Option<&[usize]>) -> ValueId {
    let x = n.input(shape);
    let mean = n.mean(x, &[axis]);
    let centred = n.op("Sub", &[x, mean]);
    let two = n.constant(&[], &[2.0]);
    let squares = n.op("Pow", &[centred, two]);
    let variance = n.mean(squares, &[axis]);
    let epsilon = n.constant(&[], &[1e-3]);
    let variance = n.op("Add", &[variance, epsilon]);
    let deviation = n.op("Sqrt", &[variance]);
    let y = n.op("Div", &[centred, deviation]);
    let scale = n.weight(scale);
    let y = n.op("Mul", &[y, scale]);
    match bias {
        Some(bias) => {
            let bias = n.weight(bias);
            n.op("Add", &[y, bias])
        }
        None => y,
    }
}

fn normalisations() -> Vec<Pattern> {
    vec![
        ("layer normalisation", |n| pieces(n, &[2, 3, 4], -1, &[4], Some(&[4]))),
        ("layer normalisation, scale of rows", |n| pieces(n, &[2, 3, 4], -1, &[3, 1], Some(&[3, 1]))),
        ("layer normalisation, scale of everything", |n| pieces(n, &[2, 3, 4], -1, &[3, 4], Some(&[1]))),
        ("layer normalisation, scale lifting the rank", |n| pieces(n, &[3, 4], -1, &[2, 3, 4], None)),
        ("layer normalisation over one element", |n| pieces(n, &[3, 1], -1, &[3, 1], Some(&[5]))),
        ("normalisation over another axis", |n| pieces(n, &[2, 3, 4], 1, &[4], Some(&[4]))),
        ("root mean square", |n| {
            let x = n.input(&[2, 3, 4]);
            let two = n.constant(&[], &[2.0]);
            let squares = n.op("Pow", &[x, two]);
            let mean = n.mean(squares, &[-1]);
            let epsilon = n.constant(&[], &[1e-3]);
            let mean = n.op("Add", &[mean, epsilon]);
            let root = n.op("Sqrt", &[mean]);
            let inverse = n.op("Reciprocal", &[root]);
            let y = n.op("Mul", &[x, inverse]);
            let scale = n.weight(&[3, 1]);
            n.op("Mul", &[y, scale])
        }),
        ("convolution and normalisation", |n| {
            let (x, w, b) = (n.input(&[2, 3, 5, 5]), n.weight(&[4, 3, 3, 3]), n.weight(&[4]));
            let y = n.op("Conv", &[x, w, b]);
            let parameters: Vec<ValueId> = (0..3).map(|_| n.weight(&[4])).collect();
            let variance = n.constant(&[4], &[0.5, 1.0, 1.5, 0.25]);
            n.op("BatchNormalization", &[y, parameters[0], parameters[1], parameters[2], variance])
        }),
        ("convolution and a bias added", |n| {
            let (x, w, b) = (n.input(&[2, 3, 5, 5]), n.weight(&[4, 3, 3, 3]), n.weight(&[1, 4, 1, 1]));
            let y = n.op("Conv", &[x, w]);
            n.op("Add", &[b, y])
        }),
        ("scale and shift of channels", |n| {
            let (x, w, b) = (n.input(&[2, 4, 3, 3]), n.weight(&[1, 4, 1, 1]), n.weight(&[1, 4, 1, 1]));
            let y = n.op("Mul", &[x, w]);
            n.op("Add", &[y, b])
        }),
        ("scale and shift of rows", |n| {
            let (x, w, b) = (n.input(&[2, 4, 4]), n.weight(&[4, 1]), n.weight(&[1, 4]));
            let y = n.op("Mul", &[x, w]);
            n.op("Add", &[y, b])
        }),
        ("swish in pieces", |n| {
            let x = n.input(&[2, 9]);
            let c = n.constant(&[], &[1.702]);
            let y = n.op("Mul", &[x, c]);
            let y = n.op("Sigmoid", &[y]);
            n.op("Mul", &[x, y])
        }),
        ("nearly a GELU", |n| {
            let x = n.input(&[2, 9]);
            let (c, one, half) =
                (n.constant(&[], &[1.414]), n.constant(&[], &[1.0]), n.constant(&[], &[0.5]));
            let y = n.op("Div", &[x, c]);
            let y = n.op("Erf", &[y]);
            let y = n.op("Add", &[y, one]);
            let y = n.op("Mul", &[x, y]);
            n.op("Mul", &[y, half])
        }),
        ("nearly the identity", |n| {
            let x = n.input(&[2, 9]);
            let c = n.constant(&[], &[0.9999]);
            n.op("Mul", &[x, c])
        }),
    ]
}

fn cast(n: &mut Net, x: ValueId) -> ValueId {
    n.push(NewNode::new("Cast", &[x], "").with("to", Attribute::Int(1)))
}

/// Whole numbers from −2 to 2, with many equals.
fn rounded(n: &mut Net, shape: &[usize]) -> ValueId {
    let (x, two) = (n.input(shape), n.constant(&[], &[2.0]));
    let x = n.op("Mul", &[x, two]);
    n.op("Round", &[x])
}

fn extreme(n: &mut Net, operator: &str, x: ValueId, axis: i64) -> ValueId {
    n.push(NewNode::new(operator, &[x], "").with("axis", Attribute::Int(axis)))
}

/// What derivatives are written in.
fn derivatives() -> Vec<Pattern> {
    vec![
        ("step", |n| {
            let x = rounded(n, &[3, 40]);
            // Whole numbers, the least normal numbers of either sign, and both zeros.
            let small = n.constant(&[4, 1], &[1.0, f32::MIN_POSITIVE, -f32::MIN_POSITIVE, f32::MAX]);
            let axes = n.list(&[1]);
            let x = n.op("Unsqueeze", &[x, axes]);
            let (x, zero) = (n.op("Mul", &[x, small]), n.constant(&[], &[0.0]));
            let above = n.op("Greater", &[x, zero]);
            cast(n, above)
        }),
        ("step at another number", |n| {
            let (x, limit) = (rounded(n, &[3, 4]), n.constant(&[], &[1.0]));
            let above = n.op("Greater", &[x, limit]);
            cast(n, above)
        }),
        ("step that adds axes", |n| {
            let (x, limit) = (rounded(n, &[3]), n.constant(&[1, 1], &[0.0]));
            let above = n.op("Greater", &[x, limit]);
            cast(n, above)
        }),
        ("first of the largest, joined", |n| {
            let axes = n.list(&[1]);
            let parts: Vec<ValueId> = (0..5)
                .map(|_| {
                    let x = rounded(n, &[2, 3, 4]);
                    n.op("Unsqueeze", &[x, axes])
                })
                .collect();
            let x = n.push(NewNode::new("Concat", &parts, "").with("axis", Attribute::Int(1)));
            extreme(n, "ArgMax", x, -3)
        }),
        ("first of the smallest", |n| {
            let x = rounded(n, &[2, 9, 4]);
            extreme(n, "ArgMin", x, 1)
        }),
        ("first of many", |n| {
            let x = rounded(n, &[2, 50, 4]);
            extreme(n, "ArgMax", x, 1)
        }),
        ("joined of wider parts", |n| {
            let parts = [rounded(n, &[2, 2, 4]), rounded(n, &[2, 1, 4])];
            let x = n.push(NewNode::new("Concat", &parts, "").with("axis", Attribute::Int(1)));
            extreme(n, "ArgMax", x, 1)
        }),
    ]
}

#[test]
fn fused_patterns_agree_with_the_interpreter() {
    let patterns = [lifting(), products(), normalisations(), derivatives()].concat();
    let mut failures = Vec::new();
    for (name, build) in &patterns {
        for free in [false, true] {
            let mut net = Net::new(free);
            let output = build(&mut net);
            if let Err(failure) = net.check(name, output) {
                failures.push(format!("{failure} (first size {})", if free { "free" } else { "known" }));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), 2 * patterns.len(), failures.join("\n"));
}
