//! The program the host runs: model, score and the signals (or the finished readout) in one graph.
//!
//! Everything is appended: the source graph is an untouched prefix of the result, so the prediction is the same by
//! construction.

use pellucid_graph::{Graph, ValueId};

use crate::build::{Builder, Var};
use crate::error::{CompileError, Result};
use crate::method::{Collect, Method};
use crate::readout::Seen;
use crate::score::{self, Scored, Target, Unit};
use crate::walk::walk;
use crate::{layer, rules::RuleMap};

/// What to explain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Request {
    /// Class.
    pub target: Target,
    /// Output that scores are read from; the first where it is `None`.
    pub output: Option<String>,
    /// Layer, for methods that look at one; chosen where it is `None`.
    pub layer: Option<String>,
}

/// A compiled graph and the names of what it takes and returns.
#[derive(Debug, Clone)]
pub struct Program {
    /// The graph. Its outputs are the model's, then `score`, then the attributions (or signals).
    pub graph: Graph,
    /// Names of the model's own outputs.
    pub predictions: Vec<String>,
    /// Name of the value scores are read from: logits, where a final Softmax was stepped over.
    pub scored: String,
    /// Name of the score, `[n]`.
    pub score: String,
    /// Name of the target input; `None` where it is fixed.
    pub target: Option<String>,
    /// For each input (or the layer): its name and the name of its attribution or signal.
    pub attributions: Vec<(String, String)>,
    /// The layer looked at.
    pub layer: Option<String>,
    /// Unit of the score.
    pub unit: Unit,
    /// Number of classes; `None` for one number a row.
    pub classes: Option<usize>,
}

/// Compiles `method` for the host.
///
/// The program gives score and readout at whatever point it is fed. With one point that is the attribution; else the
/// host takes the statistic over the points, of readouts multiplied by the difference from the baseline where the
/// method's is [`Readout::TimesDifference`](crate::Readout::TimesDifference).
pub fn program(graph: &Graph, method: &Method, request: &Request) -> Result<Program> {
    let scored = score::find(graph, request.output.as_deref())?;
    let collected = collected(graph, method, request, &scored)?;
    let builder = Builder::new(graph.clone());
    let rows = rows(graph, &scored)?;
    let target = score::target(&builder, &scored, request.target, &rows)?;
    let pass = Pass::new(&builder, &scored, target, &collected, &method.rules)?;
    let read = pass.read(&builder, method)?;
    let graph_names: Vec<String> = collected.iter().map(|id| graph.value(*id).name.clone()).collect();
    let mut outputs: Vec<ValueId> = graph.outputs().to_vec();
    let score_name = name_output(&builder, pass.score, "score", &mut outputs);
    let mut attributions = Vec::new();
    for (name, value) in graph_names.iter().zip(read) {
        let wanted =
            if collected.len() == 1 { "attribution".to_owned() } else { format!("attribution:{name}") };
        let output = name_output(&builder, value, &wanted, &mut outputs);
        attributions.push((name.clone(), output));
    }
    let target = (request.target == Target::Input).then(|| target.name());
    let mut compiled = builder.finish()?;
    compiled.set_outputs(outputs);
    Ok(Program {
        predictions: graph.outputs().iter().map(|id| graph.value(*id).name.clone()).collect(),
        scored: graph.value(scored.value).name.clone(),
        score: score_name,
        target,
        attributions,
        layer: (method.collect == Collect::Layer).then(|| graph_names[0].clone()),
        unit: scored.unit,
        classes: scored.classes,
        graph: compiled,
    })
}

/// One forward and backward pass over a graph that is there already: its score and signals.
pub(crate) struct Pass<'g> {
    pub(crate) score: Var<'g>,
    pub(crate) signals: Vec<(ValueId, Var<'g>)>,
}

impl<'g> Pass<'g> {
    pub(crate) fn new(
        builder: &'g Builder,
        scored: &Scored,
        target: Var<'g>,
        collected: &[ValueId],
        rules: &RuleMap,
    ) -> Result<Self> {
        let y = builder.var(scored.value);
        let (score, seed) = score::seed(y, scored.classes, target)?;
        let found = walk(builder, &[(scored.value, seed)], collected, rules)?;
        let mut signals = Vec::new();
        for id in collected {
            let signal = match found.get(id) {
                Some(signal) => *signal,
                // The score does not depend on it: the derivative is zero, and that is an answer.
                None => builder.var(*id).zeros_like()?,
            };
            signals.push((*id, signal));
        }
        builder.check()?;
        Ok(Self { score, signals })
    }

    /// The readout of every signal.
    pub(crate) fn read(&self, builder: &'g Builder, method: &Method) -> Result<Vec<Var<'g>>> {
        let read = self
            .signals
            .iter()
            .map(|(id, signal)| method.readout.append(&Seen { value: builder.var(*id), signal: *signal }))
            .collect::<Result<_>>()?;
        builder.check()?;
        Ok(read)
    }
}

/// The values whose signals the method reads.
pub(crate) fn collected(
    graph: &Graph,
    method: &Method,
    request: &Request,
    scored: &Scored,
) -> Result<Vec<ValueId>> {
    if method.collect == Collect::Layer {
        let id = match &request.layer {
            Some(name) => layer::find(graph, name)?,
            None => layer::last_spatial(graph, scored.value)?,
        };
        if graph.value(id).shape.as_ref().is_none_or(|shape| shape.len() < 3) {
            return Err(CompileError::Setting(format!(
                "layer {:?} has no channels and space: expected a value of shape [n, channels, …]",
                graph.value(id).name
            )));
        }
        return Ok(vec![id]);
    }
    let inputs: Vec<ValueId> = graph
        .inputs()
        .iter()
        .copied()
        .filter(|id| graph.value(*id).element.is_some_and(pellucid_graph::ElementType::is_float))
        .collect();
    if inputs.is_empty() {
        return Err(CompileError::Model(
            "no input is floating-point, so nothing can be differentiated: explain a layer instead"
                .to_owned(),
        ));
    }
    Ok(inputs)
}

/// The number of rows: the first size of the value that scores are read from.
pub(crate) fn rows(graph: &Graph, scored: &Scored) -> Result<pellucid_graph::Dim> {
    let shape = graph.value(scored.value).shape.as_ref();
    shape
        .and_then(|shape| shape.first().cloned())
        .ok_or_else(|| CompileError::Model(format!("{:?} has no rows", graph.value(scored.value).name)))
}

/// Gives a value an output's name by an Identity, so that whatever computed it keeps its own.
pub(crate) fn name_output(
    builder: &Builder,
    value: Var<'_>,
    wanted: &str,
    outputs: &mut Vec<ValueId>,
) -> String {
    let name = score::reserved(&builder.graph(), wanted);
    let named = builder.named("Identity", value, &name);
    outputs.push(named.id());
    name
}
