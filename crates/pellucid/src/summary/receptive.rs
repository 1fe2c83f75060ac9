//! What an element of a layer sees of the input.
//!
//! Source: A. Araujo, W. Norris, J. Sim (2019), Computing Receptive Fields of Convolutional Neural Networks,
//! doi:10.23915/distill.00021.

use pellucid_graph::window::{FixedAxis, Window};
use pellucid_graph::{Graph, Node};
use serde::Serialize;

/// Along one axis of space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Positions of the input that an element depends on, as many as there could be if the input had no end.
    pub size: u64,
    /// How far apart the fields of two neighbours are; of layers that enlarge, less than a position is 0.
    pub stride: u64,
}

/// What values see, by value: `None` is everything, or no space.
pub(super) fn fields(graph: &Graph) -> Vec<Option<Vec<Field>>> {
    let mut fields: Vec<Option<Vec<Field>>> = vec![None; graph.values().len()];
    for id in graph.inputs() {
        let rank = graph.value(*id).shape.as_ref().map_or(0, Vec::len);
        if rank > 2 {
            fields[id.index()] = Some(vec![Field { size: 1, stride: 1 }; rank - 2]);
        }
    }
    for id in graph.node_ids() {
        let node = graph.node(id);
        let found = field(graph, node, &fields);
        for output in node.outputs.iter().flatten() {
            let rank = graph.value(*output).shape.as_ref().map_or(0, Vec::len);
            if found.as_ref().is_some_and(|found| found.len() + 2 == rank) {
                fields[output.index()].clone_from(&found);
            }
        }
    }
    fields
}

/// Operators whose elements see what the same place of their inputs sees.
const PLACEWISE: &[&str] = &[
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Sum",
    "Max",
    "Min",
    "Mean",
    "Relu",
    "LeakyRelu",
    "PRelu",
    "Elu",
    "Selu",
    "Celu",
    "Clip",
    "Sigmoid",
    "Tanh",
    "HardSigmoid",
    "HardSwish",
    "Swish",
    "Gelu",
    "Mish",
    "Softplus",
    "Softsign",
    "Erf",
    "Exp",
    "Log",
    "Sqrt",
    "Abs",
    "Neg",
    "Pow",
    "Identity",
    "Dropout",
    "BatchNormalization",
    "LRN",
    "Concat",
    "Cast",
    "QuantizeLinear",
    "DequantizeLinear",
];

fn field(graph: &Graph, node: &Node, fields: &[Option<Vec<Field>>]) -> Option<Vec<Field>> {
    let of = |position: usize| node.input(position).and_then(|id| fields[id.index()].clone());
    let shape = |position: usize| node.input(position).and_then(|id| graph.value(id).shape.clone());
    let windows = match node.operator.as_str() {
        "Conv" => {
            let kernel: Vec<i64> =
                shape(1)?.get(2..)?.iter().map(pellucid_graph::Dim::value).collect::<Option<_>>()?;
            Window::of_conv(node, shape(0)?.get(2..)?, &kernel).ok()?.fixed()?
        }
        "MaxPool" | "AveragePool" | "LpPool" => Window::of_pool(node, shape(0)?.get(2..)?).ok()?.fixed()?,
        name if PLACEWISE.contains(&name) => return joined(graph, node, fields),
        _ => return None,
    };
    let before = of(0)?;
    (before.len() == windows.len()).then(|| before.iter().zip(&windows).map(after).collect())
}

fn after((before, window): (&Field, &FixedAxis)) -> Field {
    let number = |value: i64| u64::try_from(value).unwrap_or(0);
    Field {
        size: before.size.saturating_add(number(window.reach() - 1).saturating_mul(before.stride)),
        stride: before.stride.saturating_mul(number(window.stride)),
    }
}

/// The largest of the inputs that have space; everything where an input that is no constant sees everything.
fn joined(graph: &Graph, node: &Node, fields: &[Option<Vec<Field>>]) -> Option<Vec<Field>> {
    let mut found: Option<Vec<Field>> = None;
    for input in node.inputs.iter().flatten() {
        if graph.constant(*input).is_some() {
            continue;
        }
        let field = fields[input.index()].as_ref()?;
        found = Some(match found {
            None => field.clone(),
            Some(found) => {
                found.iter().zip(field).map(|(a, b)| if a.size >= b.size { *a } else { *b }).collect()
            }
        });
    }
    found
}
