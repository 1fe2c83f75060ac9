//! Another last layer for a model that was trained for something else.

use pellucid::{Error, Model};
use pellucid_compile::training::{Head, head, with_head};
use pellucid_data::random::Stream;
use pellucid_graph::Tensor;

/// A model with a last layer of its own.
#[derive(Debug, Clone)]
pub struct Headed {
    /// The model.
    pub model: Model,
    /// What was done.
    pub note: String,
}

/// Puts a fresh linear layer of `outputs` outputs in place of the last one: weights and biases uniform within ±1/√inputs,
/// as PyTorch's `Linear` begins, drawn by `seed`. `output` names the output that is meant; the first without it. Names of
/// the old classes go.
///
/// # Errors
/// Models whose last linear layer cannot be told; numbers outside their range.
pub fn headed(model: &Model, output: Option<&str>, outputs: usize, seed: u64) -> Result<Headed, Error> {
    if outputs == 0 || outputs > 1 << 20 {
        return Err(Error::Setting {
            name: "head".to_owned(),
            problem: format!("{outputs} found, expected 1 to 1048576 outputs"),
        });
    }
    let old = head(model.graph(), output)?;
    let limit = 1.0 / (old.inputs.max(1) as f64).sqrt();
    let drawn = |place: u64, shape: Vec<usize>| {
        let mut stream = Stream::new(seed, &[4, place]);
        let count: usize = shape.iter().product();
        #[expect(clippy::cast_possible_truncation, reason = "weights are float32")]
        let values: Vec<f32> = (0..count).map(|_| stream.between(-limit, limit) as f32).collect();
        Tensor::from_f32(shape, &values).map_err(|error| Error::Internal(error.to_string()))
    };
    let (weight, bias) = (drawn(0, vec![outputs, old.inputs])?, drawn(1, vec![outputs])?);
    let mut graph = with_head(model.graph(), &old, &weight, &bias)?;
    let mut description = model.description().clone();
    let mut lost = "";
    if description.labels.take().is_some() {
        lost = "; names of the old classes are left out";
    }
    for key in model.description().to_metadata().keys() {
        graph.metadata.remove(key);
    }
    graph.metadata.extend(description.to_metadata());
    let note = format!("{}{lost}", told(&old, outputs, seed));
    Ok(Headed { model: Model::from_graph(model.name(), graph)?, note })
}

fn told(old: &Head, outputs: usize, seed: u64) -> String {
    format!(
        "the last layer {:?}, {} → {}, is now {} → {outputs}: weights and biases uniform within ±1/√{}, seed {seed}",
        old.name, old.inputs, old.outputs, old.inputs, old.inputs
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::new::{Design, design};

    #[test]
    fn a_head_is_drawn_by_the_seed_and_nothing_else_changes() {
        let made = Design {
            family: "mlp".to_owned(),
            input: Some(vec![6]),
            outputs: Some(4),
            widths: Some(vec![5]),
            ..Design::default()
        };
        let model = Model::from_graph("net", design(&made).unwrap()).unwrap();
        let new = headed(&model, None, 3, 7).unwrap();
        assert_eq!(
            new.note,
            "the last layer \"head\", 5 → 4, is now 5 → 3: weights and biases uniform within ±1/√5, seed 7"
        );
        let constant = |model: &Model, name: &str| {
            model.graph().constant(model.graph().find(name).unwrap()).unwrap().clone()
        };
        assert_eq!(constant(&new.model, "layers.0.weight"), constant(&model, "layers.0.weight"));
        let weight = constant(&new.model, "head.weight").to_f32();
        assert_eq!(weight.len(), 15);
        assert!(weight.iter().all(|weight| weight.abs() <= 1.0 / 5.0f32.sqrt()));
        assert!(weight.iter().any(|weight| weight.abs() > 0.2));
        assert_eq!(constant(&headed(&model, None, 3, 7).unwrap().model, "head.weight").to_f32(), weight);
        assert_ne!(constant(&headed(&model, None, 3, 8).unwrap().model, "head.weight").to_f32(), weight);
        assert_eq!(
            headed(&model, None, 0, 0).unwrap_err().to_string(),
            "head: 0 found, expected 1 to 1048576 outputs"
        );
    }
}
