//! Arithmetic on the known contents of small integer tensors.

use super::{CONTENTS_LIMIT, Facts, Scope};
use crate::dim::Dim;
use crate::element::ElementType;

/// Known contents with known sizes.
pub(super) struct Block<'a> {
    pub(super) sizes: Vec<usize>,
    pub(super) data: &'a [Dim],
}

impl<'a> Block<'a> {
    /// The number at an index; `None` outside.
    pub(super) fn at(&self, index: &[usize]) -> Option<&'a Dim> {
        let mut offset = 0;
        for (position, size) in index.iter().zip(&self.sizes) {
            if position >= size {
                return None;
            }
            offset = offset * size + position;
        }
        self.data.get(offset)
    }

    /// The number at an index of a shape that this one is broadcast to.
    pub(super) fn at_broadcast(&self, index: &[usize]) -> Option<&'a Dim> {
        let skipped = index.len().checked_sub(self.sizes.len())?;
        let own: Vec<usize> = index[skipped..]
            .iter()
            .zip(&self.sizes)
            .map(|(position, size)| if *size == 1 { 0 } else { *position })
            .collect();
        self.at(&own)
    }
}

/// Number of elements of a shape, where it is small enough for contents.
pub(super) fn small_count(sizes: &[usize]) -> Option<usize> {
    crate::tensor::element_count(sizes).filter(|count| *count <= CONTENTS_LIMIT)
}

/// Every index of a shape in row-major order; none where it is too large for contents.
pub(super) fn indices(sizes: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let count = small_count(sizes).unwrap_or(0);
    let sizes = sizes.to_vec();
    (0..count).map(move |mut flat| {
        let mut index = vec![0; sizes.len()];
        for (position, size) in index.iter_mut().zip(&sizes).rev() {
            *position = flat % size;
            flat /= size;
        }
        index
    })
}

impl Scope<'_> {
    /// Contents of the first output: `element(index)` at every index of its shape, a fresh symbol where that is
    /// `None`. Nothing where sizes are unknown or too many, or the elements are no integers.
    pub(super) fn fill(&self, facts: &mut Facts, element: impl Fn(&[usize]) -> Option<Dim>) {
        let Some(kind) = facts.element.filter(|kind| !kind.is_float()) else {
            return;
        };
        let sizes: Option<Vec<usize>> =
            facts.shape.as_ref().and_then(|shape| shape.iter().map(Dim::size).collect());
        let Some(sizes) = sizes.filter(|sizes| small_count(sizes).is_some()) else {
            return;
        };
        let contents = indices(&sizes).enumerate().map(|(flat, index)| {
            element(&index).filter(|dim| fits(kind, dim)).unwrap_or_else(|| self.fresh_number(0, flat))
        });
        facts.contents = Some(contents.collect());
    }
}

/// Whether a number is in the element type's range; symbols are sizes and count as small.
pub(super) fn fits(element: ElementType, dim: &Dim) -> bool {
    let Some(value) = dim.value() else {
        return element != ElementType::Bool;
    };
    match element {
        ElementType::I8 => i8::try_from(value).is_ok(),
        ElementType::I16 => i16::try_from(value).is_ok(),
        ElementType::I32 => i32::try_from(value).is_ok(),
        ElementType::U8 => u8::try_from(value).is_ok(),
        ElementType::U16 => u16::try_from(value).is_ok(),
        ElementType::U32 => u32::try_from(value).is_ok(),
        ElementType::U64 => value >= 0,
        ElementType::Bool => value == 0 || value == 1,
        _ => true,
    }
}

fn truth(value: bool) -> Dim {
    Dim::known(i64::from(value))
}

fn below(a: &Dim, b: &Dim) -> bool {
    a.plus(&Dim::known(1)).is_some_and(|next| next.at_most(b))
}

/// Quotient as ONNX divides integers: toward zero. Symbolic dividends are sizes, so the floor is the same.
pub(super) fn divide(a: &Dim, b: &Dim) -> Option<Dim> {
    match (a.value(), b.value()) {
        (Some(a), Some(b)) => a.checked_div(b).map(Dim::known),
        (None, Some(b)) if b > 0 && a.is_of_sizes() => a.floor_div(b),
        _ => a.exact_quotient(b),
    }
}

/// Remainder; `truncated` as in C, else with the divisor's sign.
pub(super) fn remainder(a: &Dim, b: &Dim, truncated: bool) -> Option<Dim> {
    let b = b.value()?;
    match a.value() {
        Some(a) if truncated => a.checked_rem(b).map(Dim::known),
        Some(a) => {
            let rest = a.checked_rem(b)?;
            Some(Dim::known(if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }))
        }
        None if b > 0 && a.is_of_sizes() => a.minus(&a.floor_div(b)?.scaled(b)?),
        None => None,
    }
}

pub(super) fn minimum(a: &Dim, b: &Dim) -> Option<Dim> {
    if a.at_most(b) { Some(a.clone()) } else { b.at_most(a).then(|| b.clone()) }
}

pub(super) fn maximum(a: &Dim, b: &Dim) -> Option<Dim> {
    if a.at_most(b) { Some(b.clone()) } else { b.at_most(a).then(|| a.clone()) }
}

pub(super) fn power(a: &Dim, b: &Dim) -> Option<Dim> {
    let exponent = u32::try_from(b.value()?).ok()?;
    match a.value() {
        Some(base) => base.checked_pow(exponent).map(Dim::known),
        None if exponent <= 4 => (0..exponent).try_fold(Dim::known(1), |product, _| product.times(a)),
        None => None,
    }
}

pub(super) fn equal(a: &Dim, b: &Dim) -> Option<Dim> {
    if a == b { Some(truth(true)) } else { super::differ(a, b).then(|| truth(false)) }
}

pub(super) fn less(a: &Dim, b: &Dim) -> Option<Dim> {
    if below(a, b) { Some(truth(true)) } else { b.at_most(a).then(|| truth(false)) }
}

pub(super) fn not(a: &Dim) -> Option<Dim> {
    a.value().map(|value| truth(value == 0))
}

pub(super) fn and(a: &Dim, b: &Dim) -> Option<Dim> {
    match (a.value(), b.value()) {
        (Some(0), _) | (_, Some(0)) => Some(truth(false)),
        (Some(_), Some(_)) => Some(truth(true)),
        _ => None,
    }
}

pub(super) fn or(a: &Dim, b: &Dim) -> Option<Dim> {
    not(&and(&not(a)?, &not(b)?)?)
}

pub(super) fn xor(a: &Dim, b: &Dim) -> Option<Dim> {
    Some(truth((a.value()? != 0) != (b.value()? != 0)))
}

/// A number of one integer type as another; `None` where it does not fit or is not known.
pub(super) fn cast(dim: &Dim, to: ElementType) -> Option<Dim> {
    if to == ElementType::Bool {
        return not(&equal(dim, &Dim::known(0))?);
    }
    Some(dim.clone())
}
