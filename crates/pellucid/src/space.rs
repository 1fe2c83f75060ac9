//! Where an input's channels and space are, and its rows with channels in front of space.

use ndarray::{ArrayD, IxDyn};
use pellucid_compile::{Collect, Method, channel_axes};
use pellucid_graph::Graph;

use crate::error::Error;
use crate::input::Shapes;
use crate::model::Model;
use crate::preprocessing::Layout;

/// The axis of an input's channels, of an input of the sizes `shape`: what the description says; what the graph tells; where
/// neither does, the last axis if it alone is as long as channels are. `None` where there are none.
pub(crate) fn channel_axis(model: &Model, name: &str, shape: &[usize]) -> Option<usize> {
    let axes = channel_axes(model.graph());
    told(model, model.graph(), &axes, name, shape.len()).or(match shape {
        [_, _] | [_, _, _] => Some(1),
        [_, first, _, last] => {
            let like = |size: &usize| matches!(size, 1 | 3 | 4);
            Some(if like(last) && !like(first) { 3 } else { 1 })
        }
        _ => None,
    })
}

/// The axis of an input's channels that the description says, or what the graph does with it.
fn told(model: &Model, graph: &Graph, axes: &[Option<usize>], name: &str, rank: usize) -> Option<usize> {
    if let (Some(image), 4) = (model.description().preprocessing.get(name), rank) {
        return Some(if image.layout == Layout::Nhwc { 3 } else { 1 });
    }
    let axis = axes[graph.find(name)?.index()]?;
    (1..rank).contains(&axis).then_some(axis)
}

/// How the numbers of an input's row lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Space {
    /// Channels, if there are any, in front of space.
    ChannelsFirst,
    /// Space, then channels.
    ChannelsLast,
    /// A picture's numbers one after the other, of these sizes in this order.
    Flat([usize; 3], Layout),
}

impl Space {
    /// That of an input of the sizes `shape`: as the model says; as `graph`, the model's own with known sizes, does with it;
    /// where neither tells, four axes of which the last alone is as long as channels are a picture with its channels last.
    fn of(model: &Model, graph: &Graph, axes: &[Option<usize>], (name, shape): (&str, &[usize])) -> Self {
        if let (Some(image), [_, length]) = (model.description().preprocessing.get(name), shape) {
            return match image.shape().filter(|sizes| sizes.iter().product::<usize>() == *length) {
                Some(sizes) => Self::Flat(sizes, image.layout),
                None => Self::ChannelsFirst,
            };
        }
        match told(model, graph, axes, name, shape.len()) {
            Some(axis) if axis > 1 && axis + 1 == shape.len() => Self::ChannelsLast,
            Some(_) => Self::ChannelsFirst,
            None => Self::guessed(shape),
        }
    }

    /// By the sizes alone.
    fn guessed(shape: &[usize]) -> Self {
        match shape {
            [_, height, width, 1 | 3 | 4] if *height > 4 && *width > 4 => Self::ChannelsLast,
            _ => Self::ChannelsFirst,
        }
    }

    /// Sizes of a row with its channels in front, of one of the sizes `row`.
    pub(crate) fn sizes(self, row: &[usize]) -> Vec<usize> {
        match (self, row) {
            (Self::ChannelsLast, [space @ .., channels]) => [&[*channels], space].concat(),
            (Self::Flat([height, width, channels], Layout::Nhwc), _) => vec![channels, height, width],
            (Self::Flat(sizes, Layout::Nchw), _) => sizes.to_vec(),
            _ => row.to_vec(),
        }
    }

    /// Rows of the input with channels in front: `[n, channels, …]`.
    pub(crate) fn channels_first(self, rows: ArrayD<f32>) -> ArrayD<f32> {
        let (rows, last) = match self {
            Self::ChannelsFirst => return rows,
            Self::ChannelsLast => (rows, true),
            Self::Flat(sizes, layout) => (shaped(rows, &sizes), layout == Layout::Nhwc),
        };
        if last { turned(rows, |rank| [0, rank - 1].into_iter().chain(1..rank - 1).collect()) } else { rows }
    }

    /// What [`Space::channels_first`] gives, as it came.
    pub(crate) fn as_input(self, rows: ArrayD<f32>) -> ArrayD<f32> {
        let last = matches!(self, Self::ChannelsLast | Self::Flat(_, Layout::Nhwc));
        let rows = if last {
            turned(rows, |rank| [0].into_iter().chain(2..rank).chain([1]).collect())
        } else {
            rows
        };
        match self {
            Self::Flat(sizes, _) => shaped(rows, &[sizes.iter().product()]),
            _ => rows,
        }
    }
}

/// The same numbers in rows of other sizes, of which there are as many.
fn shaped(rows: ArrayD<f32>, sizes: &[usize]) -> ArrayD<f32> {
    let shape: Vec<usize> = rows.shape().iter().take(1).chain(sizes).copied().collect();
    rows.into_shape_clone(IxDyn(&shape)).expect("a row has as many numbers as its picture")
}

fn turned(rows: ArrayD<f32>, order: impl Fn(usize) -> Vec<usize>) -> ArrayD<f32> {
    let order = order(rows.ndim());
    rows.permuted_axes(order).as_standard_layout().into_owned()
}

/// Those of a model's inputs, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Spaces(Vec<(String, Space)>);

impl Spaces {
    /// Of inputs of the sizes `shapes`; `graph` is the model's own with known sizes.
    ///
    /// Cost: three passes over the nodes.
    pub(crate) fn new(model: &Model, graph: &Graph, shapes: &Shapes) -> Self {
        let axes = channel_axes(graph);
        let space = |(name, shape): &(String, Vec<usize>)| {
            (name.clone(), Space::of(model, graph, &axes, (name, shape)))
        };
        Self(shapes.iter().map(space).collect())
    }

    /// The same, of the model's graph as it was opened.
    pub(crate) fn of_model(model: &Model, shapes: &Shapes) -> Self {
        Self::new(model, model.graph(), shapes)
    }

    /// By the sizes alone, where no model is at hand.
    pub(crate) fn guessed(shapes: &Shapes) -> Self {
        Self(shapes.iter().map(|(name, shape)| (name.clone(), Space::guessed(shape))).collect())
    }

    /// Refuses methods that are compiled for an input's channels and space, where the graph does not tell that they are as
    /// the description has them.
    ///
    /// # Errors
    /// [`Error::Setting`], of the first such input.
    pub(crate) fn require_told(&self, graph: &Graph, method: &Method) -> Result<(), Error> {
        if method.readout.is_of_any_value() || method.collect == Collect::Layer {
            return Ok(());
        }
        let axes = channel_axes(graph);
        let untold = |name: &str| graph.find(name).is_some_and(|id| axes[id.index()].is_none());
        match self.0.iter().find(|(name, space)| *space == Space::ChannelsLast && untold(name)) {
            None => Ok(()),
            Some((name, _)) => Err(Error::Setting {
                name: "method".to_owned(),
                problem: format!(
                    "input {name:?} has its channels last, and no operator of the graph tells so: this method needs \
                     layers with channels and space; use integrated-gradients, occlusion or rise"
                ),
            }),
        }
    }

    /// That of one input.
    pub(crate) fn of(&self, name: &str) -> Space {
        self.0.iter().find(|(known, _)| known == name).map_or(Space::ChannelsFirst, |(_, space)| *space)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_turned_and_turned_back() {
        let count = |shape: &[usize]| shape.iter().product::<usize>();
        let numbers = |shape: &[usize]| {
            let values = (0u16..).take(count(shape)).map(f32::from).collect();
            ArrayD::from_shape_vec(IxDyn(shape), values).unwrap()
        };
        for (space, shape, first) in [
            (Space::ChannelsFirst, vec![2, 3, 4, 5], vec![2, 3, 4, 5]),
            (Space::ChannelsLast, vec![2, 4, 5, 3], vec![2, 3, 4, 5]),
            (Space::Flat([4, 5, 3], Layout::Nhwc), vec![2, 60], vec![2, 3, 4, 5]),
            (Space::Flat([3, 4, 5], Layout::Nchw), vec![2, 60], vec![2, 3, 4, 5]),
        ] {
            let rows = numbers(&shape);
            let found = space.channels_first(rows.clone());
            assert_eq!(found.shape(), first);
            assert_eq!(space.sizes(&shape[1..]), first[1..]);
            // The number at row 1, channel 2, place (3, 1).
            let at = match space {
                Space::ChannelsFirst | Space::Flat(_, Layout::Nchw) => 60 + 2 * 20 + 3 * 5 + 1,
                _ => 60 + (3 * 5 + 1) * 3 + 2,
            };
            assert!((found[[1, 2, 3, 1]] - f32::from(u16::try_from(at).unwrap())).abs() < 1e-6);
            assert_eq!(space.as_input(found), rows);
        }
    }
}
