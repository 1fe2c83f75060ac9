//! `Upsample` and `Resize`.

use super::{base, data, take};
use crate::dim::Dim;
use crate::graph::ValueId;
use crate::node::{Attribute, NewNode};
use crate::onnx::build::Target;
use crate::tensor::Tensor;

/// `Upsample` of opset 7 (scales as an attribute) and 9 (as an input).
pub(super) fn upsample(target: &mut Target<'_>, node: &mut NewNode) -> Result<(), String> {
    "Resize".clone_into(&mut node.operator);
    match take(node, "scales") {
        None => {}
        Some(Attribute::Floats(scales)) => {
            let tensor = Tensor::from_f32(vec![scales.len()], &scales).map_err(|error| error.to_string())?;
            let scales = target.constant(&format!("{}.scales", base(node)), tensor)?;
            node.inputs = vec![Some(data(node)?), Some(scales)];
        }
        Some(_) => return Err("attribute \"scales\" is not a list of numbers".to_owned()),
    }
    asymmetric(target, node)
}

/// `Resize` of opset 10, and `Upsample`: a position is divided by the scale, and rounded down for the nearest.
pub(super) fn asymmetric(target: &mut Target<'_>, node: &mut NewNode) -> Result<(), String> {
    let [Some(input), Some(scales)] = node.inputs[..] else {
        return Err("two inputs were expected: data and scales".to_owned());
    };
    let mode = match take(node, "mode") {
        None => "nearest".to_owned(),
        Some(Attribute::String(mode)) => mode,
        Some(_) => return Err("attribute \"mode\" is not text".to_owned()),
    };
    let mode = match mode.as_str() {
        "nearest" => {
            // Runtimes never agreed on which neighbour is nearest when a tensor shrinks.
            let grows = target.numbers(scales).is_some_and(|scales| scales.iter().all(|scale| *scale >= 1.0));
            if !grows {
                return Err(
                    "the nearest neighbour is only defined where scales are constants of at least 1: \
                            export with opset 11 or later"
                        .to_owned(),
                );
            }
            "nearest"
        }
        "linear" | "bilinear" => "linear",
        other => return Err(format!("mode {other:?} does not exist in this opset")),
    };
    let text = |value: &str| Attribute::String(value.to_owned());
    node.inputs = vec![Some(input), None, Some(scales)];
    node.attributes.insert("mode".to_owned(), text(mode));
    node.attributes.insert("coordinate_transformation_mode".to_owned(), text("asymmetric"));
    if mode == "nearest" {
        node.attributes.insert("nearest_mode".to_owned(), text("floor"));
    }
    Ok(())
}

/// `Resize` since opset 11: inputs that are empty tensors are left out, and so is a region that nothing crops to.
pub(super) fn resize(target: &Target<'_>, node: &mut NewNode) -> Result<(), String> {
    let mode = match node.attributes.get("coordinate_transformation_mode") {
        Some(Attribute::String(mode)) => mode.as_str(),
        _ => "half_pixel",
    };
    if matches!(mode, "tf_half_pixel_for_nn" | "half_pixel_symmetric") {
        return Err(format!("coordinate_transformation_mode {mode:?} does not exist in opset 18"));
    }
    let crops = mode == "tf_crop_and_resize";
    for (position, input) in node.inputs.iter_mut().enumerate().skip(1) {
        let unused = position == 1 && !crops;
        if unused || input.is_some_and(|id| is_empty(target, id)) {
            *input = None;
        }
    }
    Ok(())
}

fn is_empty(target: &Target<'_>, id: ValueId) -> bool {
    target.value(id).shape.as_ref().is_some_and(|shape| shape.iter().any(|size| *size == Dim::known(0)))
}
