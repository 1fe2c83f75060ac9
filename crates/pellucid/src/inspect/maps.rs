//! The maps that a layer makes of one example.

use ndarray::{Array2, ArrayD, Axis};
use pellucid_compile::layer;

use super::look::Looked;
use super::plan::unit_axes;
use super::{InspectOptions, Judge};
use crate::error::Error;
use crate::input::Inputs;
use crate::model::Model;

/// A layer's maps of one example.
#[derive(Debug, Clone)]
pub struct FeatureMaps {
    /// The model's name.
    pub model: String,
    /// The example's name.
    pub example: String,
    /// Name of the layer's value.
    pub layer: String,
    /// A map a channel, `[height, width]`; of a series `[1, length]`.
    pub maps: Vec<Array2<f32>>,
}

/// The maps of the layer that `name` names: a value, node or module.
///
/// # Errors
/// Layers that do not exist or have no space; as [`inspect`](super::inspect()).
pub fn feature_maps(
    model: &Model,
    example: &Inputs,
    name: &str,
    options: &InspectOptions,
) -> Result<FeatureMaps, Error> {
    let plain = InspectOptions { judge: Judge::Nothing, ..options.clone() };
    let mut axis = 1;
    let looked = Looked::new(model, example, &plain, |graph| match layer::find(graph, name) {
        Ok(id) => {
            axis = unit_axes(graph)[id.index()];
            vec![graph.value(id).name.clone()]
        }
        Err(_) => Vec::new(),
    })?;
    let id = layer::find(&looked.graph, name)?;
    let value = looked.graph.value(id).name.clone();
    let array = looked.value(&value).cloned().unwrap_or_else(|| ArrayD::zeros(vec![1]));
    if !matches!(array.ndim(), 3 | 4) || axis == 0 {
        return Err(Error::Setting {
            name: "layer".to_owned(),
            problem: format!(
                "{value:?} has shape {:?}, and maps have channels and space; name a layer that has",
                array.shape()
            ),
        });
    }
    let planes = array.index_axis_move(Axis(0), 0);
    let map = |plane: ndarray::ArrayViewD<'_, f64>| {
        let (height, width) =
            if plane.ndim() == 2 { (plane.shape()[0], plane.shape()[1]) } else { (1, plane.len()) };
        #[expect(clippy::cast_possible_truncation, reason = "for pictures")]
        let values = plane.iter().map(|value| *value as f32).collect();
        Array2::from_shape_vec((height, width), values).map_err(|error| Error::Internal(error.to_string()))
    };
    Ok(FeatureMaps {
        model: model.name().to_owned(),
        example: example.rows().first().map(|row| row.name.clone()).unwrap_or_default(),
        layer: value,
        maps: planes.axis_iter(Axis(axis - 1)).map(map).collect::<Result<_, _>>()?,
    })
}
