//! The filters of a first layer that looks at a picture.

use pellucid_graph::Graph;

/// Filters that are kept to be drawn.
const MOST: usize = 512;

/// Numbers of all of them together.
const NUMBERS: usize = 1 << 20;

/// Filters of a convolution over one grey or three coloured channels.
#[derive(Debug, Clone, PartialEq)]
pub struct Filters {
    /// Name of the weight.
    pub name: String,
    /// How many there are; at most 512 of them are held.
    pub of: usize,
    /// Filters, channels, height, width.
    pub shape: [usize; 4],
    /// Their numbers, in that order.
    pub values: Vec<f32>,
}

/// Of the first convolution, where it sees one or three channels through windows of more than one place.
pub(super) fn of(graph: &Graph) -> Option<Filters> {
    let node = graph.nodes().iter().find(|node| {
        node.operator == "Conv" && node.input(0).is_some_and(|input| !graph.value(input).fixed)
    })?;
    let value = graph.value(node.input(1)?);
    let tensor = value.constant()?;
    let [count, channels, height, width] = *tensor.shape() else { return None };
    let one = channels * height * width;
    if !matches!(channels, 1 | 3) || height * width < 2 || count == 0 || one > NUMBERS {
        return None;
    }
    // A grey channel of several that are looked at one by one is no picture.
    if node.int("group", 1) != 1 {
        return None;
    }
    let kept = count.min(MOST).min(NUMBERS / one);
    Some(Filters {
        name: value.name.clone(),
        of: count,
        shape: [kept, channels, height, width],
        values: super::weights::numbers::part(tensor, 0, kept * one),
    })
}
