//! The table of every operator's implementation.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::call::Operator;
use crate::ops::{
    activation, binary, cast, control, convolution, einsum, gather, generate, linear, normalization, order,
    pad, pool, quantize, reduce, resize, scatter, shape, softmax, unary,
};

/// The operators of every family.
static FAMILIES: &[&[(&str, Operator)]] = &[
    activation::OPERATORS,
    binary::OPERATORS,
    cast::OPERATORS,
    control::OPERATORS,
    convolution::OPERATORS,
    einsum::OPERATORS,
    gather::OPERATORS,
    generate::OPERATORS,
    linear::OPERATORS,
    normalization::OPERATORS,
    order::OPERATORS,
    pad::OPERATORS,
    pool::OPERATORS,
    quantize::OPERATORS,
    reduce::OPERATORS,
    resize::OPERATORS,
    scatter::OPERATORS,
    shape::OPERATORS,
    softmax::OPERATORS,
    unary::OPERATORS,
];

static TABLE: LazyLock<BTreeMap<&str, Operator>> =
    LazyLock::new(|| FAMILIES.iter().copied().flatten().copied().collect());

/// The implementation of the operator named `name`.
pub(crate) fn lookup(name: &str) -> Option<Operator> {
    TABLE.get(name).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn holds_exactly_the_operators_of_graph_each_once() {
        let here: Vec<&str> = FAMILIES.iter().copied().flatten().map(|(name, _)| *name).collect();
        let unique: BTreeSet<&str> = here.iter().copied().collect();
        assert_eq!(here.len(), unique.len(), "an operator stands in two families");
        let declared: BTreeSet<&str> = pellucid_graph::operators::all().iter().map(|o| o.name).collect();
        let missing: Vec<_> = declared.difference(&unique).collect();
        let unknown: Vec<_> = unique.difference(&declared).collect();
        assert!(
            missing.is_empty() && unknown.is_empty(),
            "missing {missing:?}, unknown to graph {unknown:?}"
        );
    }
}
