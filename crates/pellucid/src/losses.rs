//! Where relevance is lost and made on the way from a score to the inputs, node by node, for given inputs.

use pellucid_compile::{Target, losses as compiled};
use pellucid_runtime::open;

use crate::array::Array;
use crate::error::Error;
use crate::explain::{Chosen, Options, Place, Progress, TargetChoice, bound, predict, target_classes};
use crate::input::Inputs;
use crate::model::Model;

/// What happens to relevance at a node, summed over all rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Loss {
    /// Position of the node in the model, batch normalisations folded.
    pub node: usize,
    /// Name of its first output.
    pub output: String,
    /// Relevance that arrives at its outputs.
    pub arrived: f64,
    /// Relevance that leaves it for its inputs.
    pub left: f64,
}

impl Loss {
    /// What is lost; negative where some is made.
    pub fn lost(&self) -> f64 {
        self.arrived - self.left
    }
}

/// Relevance at every node that it passes, from the score to the inputs, for the first target of `options`.
///
/// Costs one explanation. All rows run as one batch.
///
/// # Errors
/// Methods whose signals are no relevance; as [`explain`](crate::explain()).
pub fn losses(
    model: &Model,
    inputs: &Inputs,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Vec<Loss>, Error> {
    let chosen = Chosen::new(model, options)?;
    let method = chosen.method()?;
    let graph = bound(model.graph(), &inputs.shapes())?;
    let choices = options.choices();
    let contrast = choices.first().is_some_and(TargetChoice::is_contrast);
    let target = if contrast { Target::InputContrast } else { Target::Input };
    let found = compiled(&graph, &method, &chosen.request(target, options.score.clone()))?;
    let rows = inputs.len();
    let (mut of, mut minus) = (vec![0; rows], vec![-1; rows]);
    if let (Some(choice), None) = (choices.first(), &chosen.neuron) {
        let prediction = predict(model, inputs, options.score.as_deref(), &options.limits, progress)?;
        (of, minus) = target_classes(model, &prediction, choice, Place { first: 0, all: rows })?;
    }
    let session = open(&found.graph, &options.limits.engine_options())?;
    let classes = |numbers: Vec<i64>| Array::I64(ndarray::Array1::from(numbers).into_dyn());
    let (of, minus) = (classes(of), classes(minus));
    let mut given: Vec<(&str, &Array)> =
        inputs.arrays().iter().map(|(name, array)| (name.as_str(), array)).collect();
    given.extend(found.target.iter().map(|name| (name.as_str(), &of)));
    given.extend(found.target_minus.iter().map(|name| (name.as_str(), &minus)));
    let results = session.run(&given, &[found.relevance.as_str()])?;
    let table = results.first().map(Array::to_f64).unwrap_or_default();
    let numbers: Vec<f64> = table.iter().copied().collect();
    let pairs = found.nodes.into_iter().zip(numbers.chunks(2));
    Ok(pairs
        .map(|((node, output), pair)| Loss {
            node: node.index(),
            output,
            arrived: pair.first().copied().unwrap_or_default(),
            left: pair.last().copied().unwrap_or_default(),
        })
        .collect())
}
