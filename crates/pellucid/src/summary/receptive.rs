//! What an element of a layer sees of the input.
//!
//! Source: A. Araujo, W. Norris, J. Sim (2019), Computing Receptive Fields of Convolutional Neural Networks,
//! doi:10.23915/distill.00021.

use pellucid_compile::{Form, Kind, ops};
use pellucid_graph::window::{FixedAxis, Window};
use pellucid_graph::{Dim, Graph, Node, ValueId};
use serde::Serialize;

/// Along one axis of space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Field {
    /// Positions of the input that an element depends on, as many as there could be if the input had no end.
    pub size: u64,
    /// How far apart the fields of two neighbours are.
    pub stride: u64,
    /// Where the field of the first element begins; below 0 in the padding.
    pub start: i64,
}

/// What values see along their last axes, by value; `None` is everything, no space, or not known.
pub(super) fn fields(graph: &Graph) -> Vec<Option<Vec<Field>>> {
    let mut fields: Vec<Option<Vec<Field>>> = vec![None; graph.values().len()];
    for id in graph.inputs() {
        let rank = graph.value(*id).shape.as_ref().map_or(0, Vec::len);
        if rank > 2 {
            fields[id.index()] = Some(vec![Field { size: 1, stride: 1, start: 0 }; rank - 2]);
        }
    }
    for id in graph.node_ids() {
        let node = graph.node(id);
        let found = field(graph, node, &fields);
        for output in node.outputs.iter().flatten() {
            let rank = graph.value(*output).shape.as_ref().map_or(0, Vec::len);
            if found.as_ref().is_some_and(|found| found.len() < rank) {
                fields[output.index()].clone_from(&found);
            }
        }
    }
    fields
}

fn field(graph: &Graph, node: &Node, fields: &[Option<Vec<Field>>]) -> Option<Vec<Field>> {
    let shape = |position: usize| node.input(position).and_then(|id| graph.value(id).shape.clone());
    let windows = match node.operator.as_str() {
        "Conv" => {
            let kernel: Vec<i64> = shape(1)?.get(2..)?.iter().map(Dim::value).collect::<Option<_>>()?;
            Window::of_conv(node, shape(0)?.get(2..)?, &kernel).ok()?.fixed()?
        }
        "MaxPool" | "AveragePool" | "LpPool" => Window::of_pool(node, shape(0)?.get(2..)?).ok()?.fixed()?,
        _ if keeps_places(graph, node) => return joined(graph, node, fields),
        _ => return None,
    };
    let before = node.input(0).and_then(|id| fields[id.index()].clone())?;
    (before.len() == windows.len()).then(|| before.iter().zip(&windows).map(after).collect())
}

fn after((before, window): (&Field, &FixedAxis)) -> Field {
    let number = |value: i64| u64::try_from(value).unwrap_or(0);
    Field {
        size: before.size.saturating_add(number(window.reach() - 1).saturating_mul(before.stride)),
        stride: before.stride.saturating_mul(number(window.stride)),
        start: before.start.saturating_sub(
            window.pad_begin.saturating_mul(i64::try_from(before.stride).unwrap_or(i64::MAX)),
        ),
    }
}

/// Whether an element sees what the same place of the inputs sees: functions of single numbers and of several at one place,
/// and what moves channels but not space.
fn keeps_places(graph: &Graph, node: &Node) -> bool {
    let kind = ops::lookup(&node.operator).map(|operator| (operator.kind)(graph, node));
    match kind {
        Some(
            Kind::Elementwise(_)
            | Kind::Quotient
            | Kind::Quantised
            | Kind::Linear(Form::Sum | Form::Difference | Form::Scale),
        ) => true,
        // A product of matrices is bilinear as well, and the largest of a window is chosen too.
        Some(Kind::Bilinear) => node.operator == "Mul",
        Some(Kind::Select) => matches!(node.operator.as_str(), "Max" | "Min"),
        Some(Kind::Normaliser) => node.operator == "LRN",
        Some(Kind::Move) => moves_channels(graph, node),
        _ => false,
    }
}

/// Whether a node that moves numbers leaves the last axes, as many as the field has, in their places.
fn moves_channels(graph: &Graph, node: &Node) -> bool {
    let shape = |id: Option<ValueId>| graph.value(id?).shape.as_deref();
    let (Some(input), Some(output)) = (shape(node.input(0)), shape(node.output(0))) else { return false };
    let space = graph.inputs().iter().filter_map(|id| shape(Some(*id))).map(<[Dim]>::len).max();
    let Some(space) = space.and_then(|rank| rank.checked_sub(2)).filter(|space| *space > 0) else {
        return false;
    };
    let (Some(before), Some(after)) = (input.len().checked_sub(space), output.len().checked_sub(space))
    else {
        return false;
    };
    if input[before..] != output[after..] {
        return false;
    }
    match node.operator.as_str() {
        "Transpose" => node.ints("perm").is_some_and(|perm| {
            perm.iter()
                .enumerate()
                .skip(before)
                .all(|(axis, from)| usize::try_from(*from).is_ok_and(|from| from == axis))
        }),
        "Reshape" | "Squeeze" | "Unsqueeze" | "Concat" | "Slice" | "Split" | "Identity" | "Dropout"
        | "Cast" => true,
        _ => false,
    }
}

/// The largest of the inputs that have space; everything where an input that is no constant sees everything.
fn joined(graph: &Graph, node: &Node, fields: &[Option<Vec<Field>>]) -> Option<Vec<Field>> {
    let mut found: Option<Vec<Field>> = None;
    for input in node.inputs.iter().flatten() {
        if graph.value(*input).fixed || graph.value(*input).element.is_some_and(|element| !element.is_float())
        {
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
