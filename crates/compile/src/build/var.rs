//! Values of a graph under construction, and Rust's operators on them.

use std::ops;

use pellucid_graph::{Attribute, Dim, ElementType, Shape, Tensor, ValueId, display_shape};

use super::{Builder, signed};
use crate::error::{CompileError, Result};

/// A value of a graph under construction.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Var<'g> {
    pub(super) builder: &'g Builder,
    pub(super) id: ValueId,
}

impl<'g> Var<'g> {
    /// The builder.
    pub fn builder(self) -> &'g Builder {
        self.builder
    }

    /// The value's id.
    pub fn id(self) -> ValueId {
        self.id
    }

    /// Name.
    pub fn name(self) -> String {
        self.builder.graph().value(self.id).name.clone()
    }

    /// Element type; `float32` where it is not known.
    pub fn element(self) -> ElementType {
        self.builder.graph().value(self.id).element.unwrap_or(ElementType::F32)
    }

    /// Sizes, or an error where not even the rank is known.
    pub fn shape(self) -> Result<Shape> {
        let graph = self.builder.graph();
        let value = graph.value(self.id);
        value.shape.clone().ok_or_else(|| {
            CompileError::Model(format!("the rank of {:?} is not known before running", value.name))
        })
    }

    /// Number of axes.
    pub fn rank(self) -> Result<usize> {
        Ok(self.shape()?.len())
    }

    /// Size along `axis` as a number, or an error where it is symbolic.
    pub fn size(self, axis: usize) -> Result<usize> {
        let shape = self.shape()?;
        shape.get(axis).and_then(Dim::size).ok_or_else(|| {
            CompileError::Model(format!(
                "axis {axis} of {:?}, of shape {}, must have a known size: give the sizes of the inputs",
                self.name(),
                display_shape(&shape)
            ))
        })
    }

    /// Contents of an integer constant.
    pub fn contents(self) -> Option<Vec<i64>> {
        self.builder.graph().value(self.id).contents.as_ref()?.iter().map(Dim::value).collect()
    }

    /// The tensor, where the value is a constant.
    pub fn constant(self) -> Option<Tensor> {
        self.builder.graph().constant(self.id).cloned()
    }

    /// The number, where the value is a constant of one element.
    pub fn constant_number(self) -> Option<f64> {
        let tensor = self.constant()?;
        if tensor.len() == 1 { tensor.to_f64().first().copied() } else { None }
    }

    /// Appends a one-input, one-output node without attributes.
    pub fn apply(self, operator: &str) -> Var<'g> {
        self.builder.op(operator, &[self], &[])
    }

    fn binary(self, operator: &str, other: Var<'g>) -> Var<'g> {
        self.builder.op(operator, &[self, other], &[])
    }

    /// A scalar of this value's element type.
    pub fn scalar(self, value: f64) -> Var<'g> {
        self.builder.scalar(self.element(), value)
    }

    /// Natural exponential.
    pub fn exp(self) -> Var<'g> {
        self.apply("Exp")
    }

    /// Natural logarithm.
    pub fn ln(self) -> Var<'g> {
        self.apply("Log")
    }

    /// Square root.
    pub fn sqrt(self) -> Var<'g> {
        self.apply("Sqrt")
    }

    /// max(0, ·).
    pub fn relu(self) -> Var<'g> {
        self.apply("Relu")
    }

    /// Logistic function.
    pub fn sigmoid(self) -> Var<'g> {
        self.apply("Sigmoid")
    }

    /// Power with a constant exponent.
    pub fn powf(self, exponent: f64) -> Var<'g> {
        self.binary("Pow", self.scalar(exponent))
    }

    /// `self > other` as 0 and 1 of this element type.
    pub fn above(self, other: Var<'g>) -> Var<'g> {
        self.binary("Greater", other).cast(self.element())
    }

    /// `self > value` as 0 and 1 of this element type.
    pub fn above_number(self, value: f64) -> Var<'g> {
        self.above(self.scalar(value))
    }

    /// `self < other` as 0 and 1 of this element type.
    pub fn below(self, other: Var<'g>) -> Var<'g> {
        self.binary("Less", other).cast(self.element())
    }

    /// `self ≥ other` as 0 and 1 of this element type.
    pub fn at_least(self, other: Var<'g>) -> Var<'g> {
        self.binary("GreaterOrEqual", other).cast(self.element())
    }

    /// `self ≤ other` as 0 and 1 of this element type.
    pub fn at_most(self, other: Var<'g>) -> Var<'g> {
        self.binary("LessOrEqual", other).cast(self.element())
    }

    /// `self = other` as 0 and 1 of this element type.
    pub fn equals(self, other: Var<'g>) -> Var<'g> {
        self.binary("Equal", other).cast(self.element())
    }

    /// `self` (bool) ? `yes` : `no`.
    pub fn choose(self, yes: Var<'g>, no: Var<'g>) -> Var<'g> {
        self.builder.op("Where", &[self, yes, no], &[])
    }

    /// The same numbers as another element type.
    pub fn cast(self, element: ElementType) -> Var<'g> {
        if self.builder.graph().value(self.id).element == Some(element) {
            return self;
        }
        self.builder.op("Cast", &[self], &[("to", Attribute::Int(i64::from(element.onnx_code())))])
    }

    /// Matrix product, batched over leading axes.
    pub fn matmul(self, other: Var<'g>) -> Var<'g> {
        self.binary("MatMul", other)
    }

    /// Axes in another order.
    pub fn transpose(self, order: &[usize]) -> Var<'g> {
        if order.iter().enumerate().all(|(position, axis)| position == *axis) {
            return self;
        }
        let order = order.iter().map(|axis| signed(*axis)).collect();
        self.builder.op("Transpose", &[self], &[("perm", Attribute::Ints(order))])
    }

    /// The last two axes exchanged.
    pub fn transpose_last_two(self) -> Result<Var<'g>> {
        let rank = self.rank()?;
        let mut order: Vec<usize> = (0..rank).collect();
        if rank < 2 {
            return Err(CompileError::Emitted(format!("{:?} has no two axes to exchange", self.name())));
        }
        order.swap(rank - 2, rank - 1);
        Ok(self.transpose(&order))
    }

    /// Other sizes; at most one may be −1.
    pub fn reshape(self, shape: &[i64]) -> Var<'g> {
        self.builder.op("Reshape", &[self, self.builder.integers(shape)], &[])
    }

    /// The sizes of `shape`, of which at most one may be symbolic.
    pub fn reshape_to(self, shape: &[Dim]) -> Result<Var<'g>> {
        if self.shape().is_ok_and(|own| own == shape) {
            return Ok(self);
        }
        match resolvable(shape) {
            Some(sizes) => Ok(self.reshape(&sizes)),
            None => Err(CompileError::Model(format!(
                "{} has more than one size that is not known: give the sizes of the inputs",
                display_shape(shape)
            ))),
        }
    }

    /// The sizes of `like`, computed while running where they are not known before.
    pub fn reshape_like(self, like: Var<'g>) -> Result<Var<'g>> {
        let shape = like.shape()?;
        match resolvable(&shape) {
            Some(_) => self.reshape_to(&shape),
            None => Ok(self.binary("Reshape", like.apply("Shape"))),
        }
    }

    /// Copies along axes of size 1 until the sizes are those of `like`.
    pub fn expand_like(self, like: Var<'g>) -> Result<Var<'g>> {
        let wanted = like.shape()?;
        if self.shape()? == wanted {
            return Ok(self);
        }
        let known: Option<Vec<i64>> = wanted.iter().map(Dim::value).collect();
        let sizes = match known {
            Some(known) => self.builder.integers(&known),
            None => like.apply("Shape"),
        };
        Ok(self.binary("Expand", sizes))
    }

    /// Zeros of this value's shape and element type.
    pub fn zeros_like(self) -> Result<Var<'g>> {
        self.scalar(0.0).expand_like(self)
    }

    /// Adds axes of size 1.
    pub fn unsqueeze(self, axes: &[usize]) -> Var<'g> {
        if axes.is_empty() {
            return self;
        }
        self.builder.op("Unsqueeze", &[self, self.builder.axes(axes)], &[])
    }

    /// Removes axes of size 1.
    pub fn squeeze(self, axes: &[usize]) -> Var<'g> {
        if axes.is_empty() {
            return self;
        }
        self.builder.op("Squeeze", &[self, self.builder.axes(axes)], &[])
    }

    /// Sum over axes, which stay with size 1 where `keep`.
    pub fn sum(self, axes: &[usize], keep: Keep) -> Var<'g> {
        self.reduce("ReduceSum", axes, keep)
    }

    /// Mean over axes, which stay with size 1 where `keep`.
    pub fn mean(self, axes: &[usize], keep: Keep) -> Var<'g> {
        self.reduce("ReduceMean", axes, keep)
    }

    /// A reduction named by its operator, as [`Var::sum`].
    pub(crate) fn reduced(self, operator: &str, axes: &[usize], keep: Keep) -> Var<'g> {
        self.reduce(operator, axes, keep)
    }

    fn reduce(self, operator: &str, axes: &[usize], keep: Keep) -> Var<'g> {
        if axes.is_empty() {
            return self;
        }
        let keep = Attribute::Int(i64::from(keep == Keep::Axes));
        self.builder.op(operator, &[self, self.builder.axes(axes)], &[("keepdims", keep)])
    }

    /// `start..end` with `step` along `axis`; negative positions count from the end.
    pub fn slice(self, axis: usize, start: i64, end: i64, step: i64) -> Var<'g> {
        let b = self.builder;
        let parts = [b.integers(&[start]), b.integers(&[end]), b.axes(&[axis]), b.integers(&[step])];
        b.op("Slice", &[self, parts[0], parts[1], parts[2], parts[3]], &[])
    }

    /// Constant padding: `before` and `after` by axis.
    pub fn pad(self, before: &[i64], after: &[i64], value: f64) -> Var<'g> {
        if before.iter().chain(after).all(|amount| *amount == 0) {
            return self;
        }
        let pads: Vec<i64> = before.iter().chain(after).copied().collect();
        self.builder.op("Pad", &[self, self.builder.integers(&pads), self.scalar(value)], &[])
    }

    /// Sums away and copies along axes until the shape is that of `like`: what a derivative of a broadcast needs.
    pub fn fit(self, like: Var<'g>) -> Result<Var<'g>> {
        let own = self.shape()?;
        let wanted = like.shape()?;
        if own == wanted {
            return Ok(self);
        }
        let undecided = || {
            CompileError::Model(format!(
                "whether {} is broadcast to {} is not known before running: give the sizes of the inputs",
                display_shape(&wanted),
                display_shape(&own)
            ))
        };
        let mut fitted = self;
        if own.len() > wanted.len() {
            let extra: Vec<usize> = (0..own.len() - wanted.len()).collect();
            fitted = fitted.sum(&extra, Keep::None);
        } else if own.len() < wanted.len() {
            let missing: Vec<usize> = (0..wanted.len() - own.len()).collect();
            fitted = fitted.unsqueeze(&missing);
        }
        let now = fitted.shape()?;
        let mut summed = Vec::new();
        let mut expanded = false;
        for (axis, (have, want)) in now.iter().zip(&wanted).enumerate() {
            if have == want {
                continue;
            }
            if want.value() == Some(1) {
                summed.push(axis);
            } else if have.value() == Some(1) {
                expanded = true;
            } else {
                return Err(undecided());
            }
        }
        fitted = fitted.sum(&summed, Keep::Axes);
        if expanded { fitted.expand_like(like) } else { Ok(fitted) }
    }

    /// All elements equal?
    pub fn is_zero(self) -> bool {
        self.constant()
            .is_some_and(|tensor| tensor.to_f64().iter().all(|value| value.abs() < f64::MIN_POSITIVE))
    }
}

/// What becomes of the axes that a reduction sums over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// They stay, with size 1.
    Axes,
    /// They go.
    None,
}

/// Sizes for a Reshape with at most one −1, where that is possible.
fn resolvable(shape: &[Dim]) -> Option<Vec<i64>> {
    let unknown = shape.iter().filter(|dim| dim.value().is_none()).count();
    // A 0 would mean "as the input has it", and −1 cannot be computed beside it.
    if unknown > 1 || shape.iter().any(|dim| dim.value() == Some(0)) {
        return None;
    }
    Some(shape.iter().map(|dim| dim.value().unwrap_or(-1)).collect())
}

macro_rules! arithmetic {
    ($trait:ident, $method:ident, $operator:literal) => {
        impl<'g> ops::$trait<Var<'g>> for Var<'g> {
            type Output = Var<'g>;
            fn $method(self, other: Var<'g>) -> Var<'g> {
                self.binary($operator, other)
            }
        }
        impl<'g> ops::$trait<f64> for Var<'g> {
            type Output = Var<'g>;
            fn $method(self, other: f64) -> Var<'g> {
                self.binary($operator, self.scalar(other))
            }
        }
    };
}

arithmetic!(Add, add, "Add");
arithmetic!(Sub, sub, "Sub");
arithmetic!(Mul, mul, "Mul");
arithmetic!(Div, div, "Div");

// Engines are fastest where the larger operand comes first, so a number never does.

impl<'g> ops::Add<Var<'g>> for f64 {
    type Output = Var<'g>;
    fn add(self, other: Var<'g>) -> Var<'g> {
        other + self
    }
}

impl<'g> ops::Mul<Var<'g>> for f64 {
    type Output = Var<'g>;
    fn mul(self, other: Var<'g>) -> Var<'g> {
        other * self
    }
}

impl<'g> ops::Sub<Var<'g>> for f64 {
    type Output = Var<'g>;
    fn sub(self, other: Var<'g>) -> Var<'g> {
        -other + self
    }
}

impl<'g> ops::Neg for Var<'g> {
    type Output = Var<'g>;
    fn neg(self) -> Var<'g> {
        self.apply("Neg")
    }
}
