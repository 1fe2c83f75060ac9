//! Operators that look elements up by index, and those that make tensors of shapes and indices.

use pellucid_graph::{Attribute, ElementType, NewNode, ValueId};

use super::rewrite::{Refusal, Rewrite, Step, known, never, node, whole};
use super::{Rule, Takes, constants, lowered};

use Rule::{By, Same};
use Takes::All;

pub(super) const RULES: &[(&str, Rule)] = &[
    ("ConstantOfShape", By(constant_of_shape)),
    ("EyeLike", By(eye_like)),
    ("Gather", Same(All, &["axis"])),
    ("GatherElements", Same(All, &["axis"])),
    ("GatherND", Same(All, &["batch_dims"])),
    ("NonZero", Same(All, &[])),
    ("OneHot", By(one_hot)),
    ("Range", By(range)),
    ("ScatterElements", By(scatter_elements)),
    ("ScatterND", Same(All, &["reduction"])),
    ("Shape", Same(All, &["start", "end"])),
    ("Size", Same(All, &[])),
];

/// The value in the element type that is computed with.
fn constant_of_shape(r: &mut Rewrite<'_>) -> Step<()> {
    let mut new = r.copy(All, &["value"])?;
    if let Some(Attribute::Tensor(tensor)) = new.attributes.get_mut("value") {
        *tensor = constants::lowered(tensor);
    }
    r.write(new)
}

fn eye_like(r: &mut Rewrite<'_>) -> Step<()> {
    let Some(element) = r.output_element(0) else { return never("its element type is not known") };
    let mut new = r.copy(All, &["k"])?;
    let code = i64::from(lowered(element).onnx_code());
    new.attributes.insert("dtype".to_owned(), Attribute::Int(code));
    r.write(new)
}

/// rten takes integers as indices and depth.
fn one_hot(r: &mut Rewrite<'_>) -> Step<()> {
    let (indices, depth, values) = (r.x(0)?, r.x(1)?, r.x(2)?);
    let indices = r.cast(indices, ElementType::I64)?;
    let depth = r.cast(depth, ElementType::I64)?;
    let axis = Attribute::Int(r.node.int("axis", -1));
    r.write(node("OneHot", &[indices, depth, values]).with("axis", axis))
}

/// rten adds up float steps one by one, and their errors with them: `start + index · delta`.
fn range(r: &mut Rewrite<'_>) -> Step<()> {
    let (start, limit, delta) = (r.x(0)?, r.x(1)?, r.x(2)?);
    if !r.element(start)?.is_float() {
        return r.same(All, &[]);
    }
    let length = r.op("Sub", &[limit, start])?;
    let count = super::arithmetic::exact_quotient(r, length, delta)?;
    let count = r.op("Ceil", &[count])?;
    let count = r.cast(count, ElementType::I64)?;
    let count = r.reshape(count, &[])?;
    let (zero, one) = (r.integer(0)?, r.integer(1)?);
    let index = r.op("Range", &[zero, count, one])?;
    let index = r.cast(index, ElementType::F32)?;
    let steps = r.op("Mul", &[index, delta])?;
    let y = r.op("Add", &[steps, start])?;
    r.done(y)
}

/// rten pairs lanes of the data with lanes of the indices, which is wrong where the indices span less of another axis
/// than the data: only that part of the data is written to, and the rest joined on again.
fn scatter_elements(r: &mut Rewrite<'_>) -> Step<()> {
    let (data, indices, updates) = (r.x(0)?, r.x(1)?, r.x(2)?);
    let rank = r.rank(data)?;
    let axis = r.axis("axis", 0, rank)?;
    let (whole_shape, part_shape) = (r.shape(data)?, r.shape(indices)?);
    if part_shape.len() != rank {
        return never(format!("indices of {} axes for data of {rank}", part_shape.len()));
    }
    let mut parts = Vec::new();
    for (position, (data, part)) in whole_shape.iter().zip(&part_shape).enumerate() {
        if position == axis || data == part {
            continue;
        }
        let (data, part) = (known(data)?, known(part)?);
        if part > data {
            return never(format!("indices span {part} of axis {position}, whose size is {data}"));
        }
        if part < data {
            parts.push((position, whole(part), whole(data)));
        }
    }
    let new = r.copy(All, &["axis", "reduction"])?;
    let y = scatter_part(r, &new, data, &parts)?;
    let _ = updates;
    r.done(y)
}

fn scatter_part(
    r: &mut Rewrite<'_>,
    new: &NewNode,
    data: ValueId,
    parts: &[(usize, i64, i64)],
) -> Step<ValueId> {
    let Some(((axis, part, size), rest)) = parts.split_first() else {
        let mut new = new.clone();
        match new.inputs.first_mut() {
            Some(first) => *first = Some(data),
            None => return Err(Refusal::Never("it has no inputs".to_owned())),
        }
        return r.add(new);
    };
    let head = r.slice(data, *axis, 0, *part, 1)?;
    let tail = r.slice(data, *axis, *part, *size, 1)?;
    let head = scatter_part(r, new, head, rest)?;
    r.concat(&[head, tail], *axis)
}
