//! Layer normalisation, which has a node of its own from opset 17 only.
//!
//! Its parts are raised as they come: the quotient to a `LayerNormalization` with a scale of ones, a product with a
//! parameter after it to one with that scale, a sum with a parameter to one with that bias.

use pellucid_graph::{Attribute, Dim, Tensor, ValueId};

use super::view::{MAX_STEPS, Piece, View};
use super::{Canonical, Operand};

/// (x − mean x) / √(var x + ε) over the trailing axes.
struct Normalised {
    x: ValueId,
    /// How many axes.
    axes: usize,
    epsilon: f32,
    /// Sizes of those axes, where they are known.
    sizes: Option<Vec<usize>>,
}

/// Recognises the quotient, the scale and the bias.
pub(super) fn recognise(view: &View<'_>, last: &Piece<'_>) -> Option<Canonical> {
    match last.operator {
        "Div" => unscaled(view, last),
        "Mul" => scaled(view, last).or_else(|| unscaled(view, last)),
        "Add" => shifted(view, last),
        _ => None,
    }
}

fn canonical(found: &Normalised, scale: Operand) -> Canonical {
    let axis = i64::try_from(found.axes).map_or(i64::MIN, |axes| -axes);
    Canonical::new("LayerNormalization", found.x)
        .and(scale)
        .with("axis", Attribute::Int(axis))
        .with("epsilon", Attribute::Float(found.epsilon))
}

fn unscaled(view: &View<'_>, last: &Piece<'_>) -> Option<Canonical> {
    let found = normalised(view, last)?;
    let sizes = found.sizes.clone()?;
    let element = view.graph.value(found.x).element?;
    let count = pellucid_graph::element_count(&sizes)?;
    let ones = Tensor::from_values(element, sizes, &vec![1.0; count]).ok()?;
    Some(canonical(&found, Operand::Constant(ones)))
}

fn scaled(view: &View<'_>, last: &Piece<'_>) -> Option<Canonical> {
    last.orders().into_iter().find_map(|(value, scale)| {
        let sizes = parameter_sizes(view, scale)?;
        let value = view.resolve(value);
        let found =
            view.piece(value).and_then(|piece| normalised(view, &piece)).or_else(|| of_ones(view, value))?;
        // A size of 1 would be broadcast, which cannot be told from its place while the sizes are unknown.
        let fits = match &found.sizes {
            Some(own) => *own == sizes,
            None => sizes.len() == found.axes && !sizes.contains(&1),
        };
        fits.then(|| canonical(&found, Operand::Value(view.resolve(scale))))
    })
}

fn shifted(view: &View<'_>, last: &Piece<'_>) -> Option<Canonical> {
    last.orders().into_iter().find_map(|(value, bias)| {
        let sizes = parameter_sizes(view, bias)?;
        let node = view.of(value, "LayerNormalization")?;
        let scale = node.input(1)?;
        if has_bias(view, &node) || view.graph.value(scale).static_shape()? != sizes {
            return None;
        }
        let mut canonical = Canonical::new("LayerNormalization", node.input(0)?)
            .and(Operand::Value(scale))
            .and(Operand::Value(view.resolve(bias)));
        canonical.attributes.clone_from(node.attributes);
        Some(canonical)
    })
}

/// Sizes of a parameter: a constant, cast or not, that is no number.
fn parameter_sizes(view: &View<'_>, id: ValueId) -> Option<Vec<usize>> {
    let id = view.resolve(id);
    let stored = match view.piece(id) {
        Some(piece) if matches!(piece.operator, "Cast" | "CastLike") => piece.input(0)?,
        Some(_) => return None,
        None => id,
    };
    view.graph.constant(stored)?;
    view.graph.value(id).static_shape().filter(|sizes| !sizes.is_empty())
}

fn has_bias(view: &View<'_>, node: &Piece<'_>) -> bool {
    node.input(2).is_some_and(|bias| {
        view.graph.constant(bias).is_none_or(|tensor| tensor.to_f64().iter().any(|value| value.abs() > 0.0))
    })
}

/// A `LayerNormalization` whose scale is one and that has no bias.
fn of_ones(view: &View<'_>, id: ValueId) -> Option<Normalised> {
    let node = view.of(id, "LayerNormalization")?;
    let scale = view.graph.constant(node.input(1)?)?;
    let ones = scale.to_f64().iter().all(|value| (value - 1.0).abs() <= 0.0);
    let x = node.input(0)?;
    let axis = node.int("axis", -1);
    let rank = i64::try_from(view.shape(x)?.len()).ok()?;
    let axes = usize::try_from(if axis < 0 { -axis } else { rank - axis }).ok()?;
    (ones && !has_bias(view, &node) && scale.shape().len() == axes).then(|| Normalised {
        x,
        axes,
        epsilon: node.float("epsilon", 1e-5),
        sizes: Some(scale.shape().to_vec()),
    })
}

/// The pieces that end in `last`.
fn normalised(view: &View<'_>, last: &Piece<'_>) -> Option<Normalised> {
    let attempts = match last.operator {
        "Div" => vec![last.pair()?],
        "Mul" => last.orders(),
        _ => return None,
    };
    attempts.into_iter().find_map(|(numerator, factor)| {
        let spread = if last.operator == "Div" { root(view, factor)? } else { inverse_root(view, factor)? };
        let (x, axes) = centred(view, numerator)?;
        let (variance, epsilon) =
            view.of(spread, "Add")?.orders().into_iter().find_map(|(variance, epsilon)| {
                view.number(epsilon).filter(|epsilon| *epsilon >= 0.0).map(|epsilon| (variance, epsilon))
            })?;
        let (squares, over) = mean(view, variance)?;
        let (a, b) = square(view, squares)?;
        let same =
            over == axes && [a, b].iter().all(|c| centred(view, *c).is_some_and(|c| c == (x, axes.clone())));
        let shape = view.shape(x)?;
        let first = shape.len().checked_sub(axes.len())?;
        let trailing = axes.iter().copied().eq(first..shape.len());
        if !same || !trailing || axes.is_empty() || !view.fits(x) {
            return None;
        }
        let sizes = shape[first..].iter().map(Dim::size).collect();
        #[expect(
            clippy::as_conversions,
            clippy::cast_possible_truncation,
            reason = "attributes are float32; rounded to nearest"
        )]
        let epsilon = epsilon as f32;
        Some(Normalised { x, axes: axes.len(), epsilon, sizes })
    })
}

/// What √ is taken of.
fn root(view: &View<'_>, id: ValueId) -> Option<ValueId> {
    if let Some(sqrt) = view.of(id, "Sqrt") {
        return sqrt.input(0);
    }
    power(view, id, 0.5)
}

/// What 1/√ is taken of.
fn inverse_root(view: &View<'_>, id: ValueId) -> Option<ValueId> {
    if let Some(reciprocal) = view.of(id, "Reciprocal") {
        return root(view, reciprocal.input(0)?);
    }
    if let Some((one, divisor)) = view.of(id, "Div").and_then(|piece| piece.pair()) {
        return view.number(one).filter(|one| view.near(*one, 1.0)).and_then(|_| root(view, divisor));
    }
    power(view, id, -0.5)
}

fn power(view: &View<'_>, id: ValueId, exponent: f64) -> Option<ValueId> {
    let (base, found) = view.of(id, "Pow")?.pair()?;
    view.number(found).filter(|found| view.near(*found, exponent)).map(|_| base)
}

/// The factors of a square.
fn square(view: &View<'_>, id: ValueId) -> Option<(ValueId, ValueId)> {
    if let Some(product) = view.of(id, "Mul") {
        return product.pair();
    }
    power(view, id, 2.0).map(|base| (base, base))
}

/// x and axes, where the value is x − mean(x).
fn centred(view: &View<'_>, id: ValueId) -> Option<(ValueId, Vec<usize>)> {
    let (x, subtracted) = view.of(id, "Sub")?.pair()?;
    let (of, axes) = mean(view, subtracted)?;
    (view.resolve(of) == view.resolve(x)).then(|| (view.resolve(x), axes))
}

/// What a mean is taken of, and its axes, which stay with size 1: by `keepdims`, or by a change of shape after.
fn mean(view: &View<'_>, id: ValueId) -> Option<(ValueId, Vec<usize>)> {
    let mut source = view.resolve(id);
    let mut piece = view.piece(source)?;
    for _ in 0..MAX_STEPS {
        let changes_nothing = match piece.operator {
            "Reshape" | "Unsqueeze" => true,
            // An Expand to its own shape.
            "Expand" => view.shape(source).is_some() && view.shape(source) == view.shape(piece.input(0)?),
            _ => false,
        };
        if !changes_nothing {
            break;
        }
        source = view.resolve(piece.input(0)?);
        piece = view.piece(source)?;
    }
    if piece.operator != "ReduceMean" {
        return None;
    }
    let of = piece.input(0)?;
    let shape = view.shape(of)?;
    let rank = i64::try_from(shape.len()).ok()?;
    let axes = view.contents(piece.input(1)?)?;
    let mut axes = axes
        .iter()
        .map(|axis| usize::try_from(if *axis < 0 { axis + rank } else { *axis }).ok())
        .collect::<Option<Vec<usize>>>()?;
    axes.sort_unstable();
    if axes.iter().any(|axis| *axis >= shape.len()) {
        return None;
    }
    if source != view.resolve(id) || piece.int("keepdims", 1) == 0 {
        let kept: Vec<Dim> = shape
            .iter()
            .enumerate()
            .map(|(axis, dim)| if axes.contains(&axis) { Dim::known(1) } else { dim.clone() })
            .collect();
        if view.shape(id)? != kept.as_slice() {
            return None;
        }
    }
    Some((of, axes))
}
