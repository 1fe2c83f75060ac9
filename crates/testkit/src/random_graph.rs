//! Random small networks, and rewrites that do not change the function they compute.
//!
//! Everything follows from a seed, on every machine. Parameters, statistics of normalisations included, are random and
//! of order one, so that no test passes because a weight was 0 or 1.

mod image;
mod maker;
mod rewrite;
mod vector;

use pellucid_graph::{Dim, ElementType, Graph};

pub use rewrite::{REWRITES, Rewrite};

use maker::Maker;

/// A deterministic stream of numbers: `SplitMix64` (G. L. Steele, D. Lea, C. H. Flood, 2014, doi:10.1145/2660193.2660195).
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        let unit = f64::from(u32::try_from(self.next() >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
        low + (high - low) * unit
    }

    /// Numbers from `low` to `high`.
    pub fn numbers(&mut self, count: usize, low: f64, high: f64) -> Vec<f64> {
        (0..count).map(|_| self.between(low, high)).collect()
    }

    /// A number whose magnitude is from `low` to `high`, of either sign.
    pub fn signed(&mut self, low: f64, high: f64) -> f64 {
        let size = self.between(low, high);
        if self.chance(0.5) { size } else { -size }
    }

    /// A whole number below `count`, which must be at least 1.
    pub fn below(&mut self, count: usize) -> usize {
        let count = u64::try_from(count.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % count).unwrap_or(0)
    }

    /// A whole number from `low` to `high`, both included.
    pub fn whole(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    /// Truth with a probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.between(0.0, 1.0) < probability
    }

    /// One of some choices, of which there must be one.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

/// The first axis of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// A number.
    Fixed(usize),
    /// The symbol `n`.
    Symbolic,
}

/// Shape of the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// [n, channels, height, width].
    Image,
    /// [n, width].
    Vector,
}

/// Which functions a network consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Functions {
    /// Those with derivatives of every order: no rectifier, no maximum.
    Smooth,
    /// Continuous ones, with kinks.
    Any,
}

/// What network to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Element type of input and parameters.
    pub element: ElementType,
    /// First axis of the input.
    pub rows: Rows,
    /// Shape of the input.
    pub input: Input,
    /// Sizes of the input after the rows; chosen at random where it is empty.
    pub sizes: Vec<usize>,
    /// Which functions it consists of.
    pub functions: Functions,
    /// How many random blocks stand between input and classes.
    pub blocks: usize,
    /// Number of classes.
    pub classes: usize,
    /// Whether a Softmax over the classes follows the logits.
    pub softmax: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            element: ElementType::F64,
            rows: Rows::Symbolic,
            input: Input::Image,
            sizes: Vec::new(),
            functions: Functions::Any,
            blocks: 4,
            classes: 3,
            softmax: false,
        }
    }
}

/// A network with one input `x` and one output `y`, [n, classes].
///
/// # Panics
/// Where shape inference refuses a node or cannot tell a size: a fault of one or the other.
pub fn network(random: &mut Random, config: &Config) -> Graph {
    let mut maker = Maker::new(random, config.element, config.functions);
    let sizes = match (config.input, config.sizes.as_slice()) {
        (Input::Image, []) => {
            let random = &mut *maker.random;
            vec![random.whole(1, 3), random.whole(5, 7), random.whole(4, 7)]
        }
        (Input::Vector, []) => vec![maker.random.whole(3, 6)],
        (_, given) => given.to_vec(),
    };
    let mut shape = vec![match config.rows {
        Rows::Fixed(rows) => Dim::from(rows),
        Rows::Symbolic => Dim::symbol("n"),
    }];
    shape.extend(sizes.iter().map(|size| Dim::from(*size)));
    let x = maker.input("x", shape);
    let of_image = if config.input == Input::Image { config.blocks.div_ceil(2) } else { 0 };
    let mut value = x;
    if config.input == Input::Image {
        for _ in 0..of_image {
            value = maker.image_block(value);
        }
        value = maker.leave_space(value);
    }
    for _ in of_image..config.blocks {
        value = maker.vector_block(value);
    }
    maker.finish(value, config.classes, config.softmax)
}

/// Numbers for the input `x` of a network with `rows` rows, of order one, in row-major order, and their shape.
///
/// # Panics
/// Where the graph has no input with known sizes after the rows.
pub fn input_for(random: &mut Random, graph: &Graph, rows: usize) -> (Vec<usize>, Vec<f64>) {
    let id = graph.inputs()[0];
    let shape = graph.value(id).shape.clone().expect("the input of a random network has a shape");
    let mut sizes = vec![rows];
    sizes.extend(shape[1..].iter().map(|dim| dim.size().expect("only the rows are symbolic")));
    let count = sizes.iter().product();
    (sizes, random.numbers(count, -1.5, 1.5))
}
