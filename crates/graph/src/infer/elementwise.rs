//! Operators that compute each element from the elements at the same place, with broadcasting.

use super::contents::{
    and, cast, divide, equal, fits, less, maximum, minimum, not, or, power, remainder, xor,
};
use super::{Class, Facts, Outcome, Scope, join};
use crate::dim::{Dim, display_shape};
use crate::element::ElementType;

pub(super) fn rule(operator: &str) -> Option<fn(&Scope<'_>) -> Outcome> {
    Some(match operator {
        "Acos" | "Acosh" | "Asin" | "Asinh" | "Atan" | "Atanh" | "Ceil" | "Celu" | "Cos" | "Cosh" | "Elu"
        | "Exp" | "Floor" | "Gelu" | "HardSigmoid" | "HardSwish" | "LeakyRelu" | "Log" | "Mish"
        | "Reciprocal" | "Round" | "Selu" | "Sigmoid" | "Sin" | "Sinh" | "Softplus" | "Softsign" | "Sqrt"
        | "Swish" | "Tan" | "Tanh" | "ThresholdedRelu" => |scope| unary(scope, Class::Float),
        "Abs" | "Erf" | "Shrink" | "Sign" => |scope| unary(scope, Class::Number),
        "Neg" | "Relu" => |scope| unary(scope, Class::Signed),
        "Identity" => |scope| unary(scope, Class::Any),
        "Not" => |scope| unary(scope, Class::Bool),
        "IsInf" | "IsNaN" => predicate,
        "Add" | "Div" | "Mod" | "Mul" | "Sub" => arithmetic,
        "Pow" => pow,
        "PRelu" => prelu,
        "And" | "Or" | "Xor" => |scope| comparison(scope, Class::Bool),
        "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" => |scope| comparison(scope, Class::Number),
        "Equal" => |scope| comparison(scope, Class::Any),
        "Max" | "Mean" | "Min" | "Sum" => variadic,
        "Where" => select,
        "Clip" => clip,
        "Cast" | "CastLike" => convert,
        "Dropout" => dropout,
        "QuantizeLinear" | "DequantizeLinear" => quantize,
        _ => return None,
    })
}

fn unary(scope: &Scope<'_>, class: Class) -> Outcome {
    let value = scope.value(0)?;
    let element = scope.element([0], class)?;
    let mut facts = Facts { element, shape: value.shape.clone(), contents: None };
    if let Some(block) = scope.block(0) {
        let zero = Dim::known(0);
        scope.fill(&mut facts, |index| {
            let x = block.at(index)?;
            match &*scope.node.operator {
                "Identity" => Some(x.clone()),
                "Neg" => x.scaled(-1),
                "Abs" => maximum(x, &x.scaled(-1)?),
                "Relu" => maximum(x, &zero),
                "Sign" => {
                    let positive = less(&zero, x)?.value()?;
                    Some(Dim::known(positive - less(x, &zero)?.value()?))
                }
                "Not" => not(x),
                _ => None,
            }
        });
    }
    Ok(vec![facts])
}

fn predicate(scope: &Scope<'_>) -> Outcome {
    scope.element([0], Class::Float)?;
    scope.one(Some(ElementType::Bool), scope.value(0)?.shape.clone())
}

/// Element type given, shape broadcast, contents by `combine`.
fn binary(
    scope: &Scope<'_>,
    element: Option<ElementType>,
    combine: impl Fn(&Dim, &Dim) -> Option<Dim>,
) -> Outcome {
    scope.value(0)?;
    scope.value(1)?;
    let shape = match (scope.shape(0), scope.shape(1)) {
        (Some(a), Some(b)) => Some(scope.broadcast(a, b, 0)?),
        _ => None,
    };
    let mut facts = Facts { element, shape, contents: None };
    if let (Some(a), Some(b)) = (scope.block(0), scope.block(1)) {
        scope.fill(&mut facts, |index| combine(a.at_broadcast(index)?, b.at_broadcast(index)?));
    }
    Ok(vec![facts])
}

fn arithmetic(scope: &Scope<'_>) -> Outcome {
    let element = scope.element([0, 1], Class::Number)?;
    let truncated = scope.node.int("fmod", 0) != 0;
    binary(scope, element, |a, b| match &*scope.node.operator {
        "Add" => a.plus(b),
        "Sub" => a.minus(b),
        "Mul" => a.times(b),
        "Div" => divide(a, b),
        _ => remainder(a, b, truncated),
    })
}

fn pow(scope: &Scope<'_>) -> Outcome {
    scope.element([1], Class::Number)?;
    binary(scope, scope.element([0], Class::Number)?, power)
}

fn prelu(scope: &Scope<'_>) -> Outcome {
    let element = scope.element([0, 1], Class::Number)?;
    let value = scope.value(0)?;
    scope.value(1)?;
    if let (Some(x), Some(slope)) = (scope.shape(0), scope.shape(1)) {
        one_way(scope, x, slope, "the slope")?;
    }
    scope.one(element, value.shape.clone())
}

/// Refuses an operand that cannot be broadcast to `target` without changing it.
pub(super) fn one_way(scope: &Scope<'_>, target: &[Dim], operand: &[Dim], what: &str) -> Result<(), String> {
    let joined = join(target, operand, |_, x, _| x.clone());
    let stays = joined.is_ok_and(|joined| {
        joined.len() == target.len() && !joined.iter().zip(target).any(|(a, b)| super::differ(a, b))
    });
    if stays {
        return Ok(());
    }
    Err(format!(
        "{what} of shape {} cannot be broadcast to {} by {}",
        display_shape(operand),
        display_shape(target),
        scope.node.operator
    ))
}

fn comparison(scope: &Scope<'_>, class: Class) -> Outcome {
    scope.element([0, 1], class)?;
    binary(scope, Some(ElementType::Bool), |a, b| match &*scope.node.operator {
        "Equal" => equal(a, b),
        "Less" => less(a, b),
        "Greater" => less(b, a),
        "LessOrEqual" => not(&less(b, a)?),
        "GreaterOrEqual" => not(&less(a, b)?),
        "And" => and(a, b),
        "Or" => or(a, b),
        _ => xor(a, b),
    })
}

fn variadic(scope: &Scope<'_>) -> Outcome {
    let count = scope.node.inputs.len();
    let class = if matches!(&*scope.node.operator, "Max" | "Min") { Class::Number } else { Class::Float };
    let element = scope.element(0..count, class)?;
    let mut shape = Some(Vec::new());
    for input in 0..count {
        let value = scope.value(input)?;
        shape = match (shape, &value.shape) {
            (Some(shape), Some(next)) => Some(scope.broadcast(&shape, next, 0)?),
            _ => None,
        };
    }
    let mut facts = Facts { element, shape, contents: None };
    // Sizes are compared two or three at a time; long lists are not worth their time.
    if count <= 16
        && let Some(blocks) = (0..count).map(|input| scope.block(input)).collect::<Option<Vec<_>>>()
    {
        let combine = if scope.node.operator == "Min" { minimum } else { maximum };
        scope.fill(&mut facts, |index| {
            let mut numbers = blocks.iter().map(|block| block.at_broadcast(index));
            let first = numbers.next()??.clone();
            numbers.try_fold(first, |chosen, next| combine(&chosen, next?))
        });
    }
    Ok(vec![facts])
}

fn select(scope: &Scope<'_>) -> Outcome {
    for input in 0..3 {
        scope.value(input)?;
    }
    scope.element([0], Class::Bool)?;
    let element = scope.element([1, 2], Class::Any)?;
    let shape = match (scope.shape(0), scope.shape(1), scope.shape(2)) {
        (Some(condition), Some(x), Some(y)) => {
            let branches = scope.broadcast(x, y, 0)?;
            Some(scope.broadcast(condition, &branches, 0)?)
        }
        _ => None,
    };
    let mut facts = Facts { element, shape, contents: None };
    if let (Some(condition), Some(x), Some(y)) = (scope.block(0), scope.block(1), scope.block(2)) {
        scope.fill(&mut facts, |index| {
            let (x, y) = (x.at_broadcast(index)?, y.at_broadcast(index)?);
            match condition.at_broadcast(index)?.value() {
                Some(0) => Some(y.clone()),
                Some(_) => Some(x.clone()),
                None => (x == y).then(|| x.clone()),
            }
        });
    }
    Ok(vec![facts])
}

fn clip(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let element = scope.element(0..3, Class::Number)?;
    for bound in 1..3 {
        scope.expect_single(bound)?;
    }
    let mut facts = Facts { element, shape: value.shape.clone(), contents: None };
    if let Some(block) = scope.block(0) {
        let bound = |input: usize| match (scope.maybe(input), scope.contents(input)) {
            (None, _) => Some(None),
            (Some(_), Some([bound])) => Some(Some(bound)),
            _ => None,
        };
        if let (Some(low), Some(high)) = (bound(1), bound(2)) {
            scope.fill(&mut facts, |index| {
                let x = block.at(index)?;
                let raised = low.map_or(Some(x.clone()), |low| maximum(x, low))?;
                high.map_or(Some(raised.clone()), |high| minimum(&raised, high))
            });
        }
    }
    Ok(vec![facts])
}

fn convert(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let element =
        if scope.node.operator == "CastLike" {
            scope.value(1)?.element
        } else {
            let code = scope.node.int("to", 0);
            let element = i32::try_from(code).ok().and_then(ElementType::from_onnx_code);
            Some(element.ok_or_else(|| {
                format!("attribute to {code} is no element type that tensors here can have")
            })?)
        };
    let mut facts = Facts { element, shape: value.shape.clone(), contents: None };
    let Some(element) = element else {
        return Ok(vec![facts]);
    };
    if let Some(block) = scope.block(0) {
        scope.fill(&mut facts, |index| cast(block.at(index)?, element));
    } else if let Some(numbers) = scope.floats(0) {
        let whole: Option<Vec<Dim>> = numbers.into_iter().map(whole_number).collect();
        facts.contents = whole.filter(|numbers| {
            element != ElementType::Bool && numbers.iter().all(|number| fits(element, number))
        });
    }
    Ok(vec![facts])
}

/// The integer that a float is, where it is one and small enough to be exact.
#[expect(clippy::cast_possible_truncation, reason = "the number is whole and far inside the range")]
fn whole_number(value: f64) -> Option<Dim> {
    let small = value.abs() < 9.0e15 && value.fract().abs() < f64::MIN_POSITIVE;
    small.then(|| Dim::known(value as i64))
}

fn dropout(scope: &Scope<'_>) -> Outcome {
    let shape = scope.value(0)?.shape.clone();
    let element = scope.element([0], Class::Float)?;
    scope.element([1], Class::Float)?;
    scope.element([2], Class::Bool)?;
    scope.expect_single(1)?;
    scope.expect_single(2)?;
    let mask = Facts { element: Some(ElementType::Bool), shape: shape.clone(), contents: None };
    Ok(vec![Facts { element, shape, contents: None }, mask])
}

fn quantize(scope: &Scope<'_>) -> Outcome {
    let value = scope.value(0)?;
    let scale = scope.value(1)?;
    scope.element([1], Class::Float)?;
    let zero = scope.maybe(2).map(|value| value.element);
    if let Some(scale) = scope.shape(1)
        && scale.len() > 1
    {
        return Err(format!("the scale has the shape {}, expected at most one axis", display_shape(scale)));
    }
    if let (Some(x), Some([size])) = (scope.shape(0), scope.shape(1))
        && size.value() != Some(1)
    {
        let axis = super::axis_of(scope.node.int("axis", 1), x.len())?;
        if super::differ(size, &x[axis]) {
            return Err(format!("{size} scales for axis {axis} of {}", display_shape(x)));
        }
    }
    let element = if scope.node.operator == "QuantizeLinear" {
        scope.element([0], Class::Number)?;
        zero.unwrap_or(Some(ElementType::U8))
    } else {
        scope.element([0], Class::Integer)?;
        scale.element
    };
    scope.one(element, value.shape.clone())
}
