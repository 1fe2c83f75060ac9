//! Multiply-adds of a node.

use pellucid_graph::{Attribute, Graph, Node, ValueId};

fn sizes(graph: &Graph, value: Option<ValueId>) -> Option<Vec<u64>> {
    let shape = graph.value(value?).static_shape()?;
    shape.into_iter().map(|size| u64::try_from(size).ok()).collect()
}

fn product(sizes: &[u64]) -> Option<u64> {
    sizes.iter().try_fold(1u64, |product, size| product.checked_mul(*size))
}

/// Multiplications, each with its addition: of convolutions and matrix products, whether a factor is a weight or not. What
/// works element by element has none; `None` where sizes are not known, and of loops and branches, which depend on data.
pub(super) fn multiply_adds(graph: &Graph, node: &Node) -> Option<u64> {
    let input = |position: usize| sizes(graph, node.input(position));
    let output = || sizes(graph, node.output(0));
    match node.operator.as_str() {
        // Each output adds up its group's channels under the kernel.
        "Conv" => product(&output()?)?.checked_mul(product(input(1)?.get(1..)?)?),
        // Each input is spread to its group's channels under the kernel.
        "ConvTranspose" => product(&input(0)?)?.checked_mul(product(input(1)?.get(1..)?)?),
        "Gemm" => {
            let inner = *input(0)?.get(usize::from(node.int("transA", 0) == 0))?;
            product(&output()?)?.checked_mul(inner)
        }
        "MatMul" => {
            let inner = input(0)?.last().copied()?;
            product(&output()?)?.checked_mul(inner)
        }
        "Einsum" => einsum(graph, node),
        "LSTM" | "GRU" | "RNN" => recurrent(graph, node),
        _ if node.attributes.values().any(|attribute| matches!(attribute, Attribute::Graph(_))) => None,
        _ => Some(0),
    }
}

/// Every step of every sequence meets both matrices: `W` `[directions, gates, inputs]`, `R` `[directions, gates, units]`.
fn recurrent(graph: &Graph, node: &Node) -> Option<u64> {
    let steps = product(sizes(graph, node.input(0))?.get(..2)?)?;
    let weights: u64 = [1, 2]
        .into_iter()
        .map(|position| product(&sizes(graph, node.input(position))?))
        .try_fold(0u64, |sum, count| sum.checked_add(count?))?;
    steps.checked_mul(weights)
}

/// The product of the sizes of all letters.
fn einsum(graph: &Graph, node: &Node) -> Option<u64> {
    let Attribute::String(equation) = node.attributes.get("equation")? else { return None };
    let left = equation.split("->").next()?;
    let mut letters: Vec<(char, u64)> = Vec::new();
    for (position, term) in left.split(',').enumerate() {
        let sizes = sizes(graph, node.input(position))?;
        let term: Vec<char> = term.chars().filter(|c| c.is_alphabetic()).collect();
        if term.len() != sizes.len() {
            return None;
        }
        for (letter, size) in term.into_iter().zip(sizes) {
            if !letters.iter().any(|(known, _)| *known == letter) {
                letters.push((letter, size));
            }
        }
    }
    product(&letters.into_iter().map(|(_, size)| size).collect::<Vec<_>>())
}
