//! Bodies: the branches of `If` and the body of `Loop` are lowered like graphs.

use pellucid_graph::{Attribute, Graph, Origin, ValueId};

use super::rewrite::{Refusal, Rewrite, Step};
use super::{Rule, lower_nodes, lowered};

use Rule::By;

pub(super) const RULES: &[(&str, Rule)] = &[("If", By(with_bodies)), ("Loop", By(with_bodies))];

fn with_bodies(r: &mut Rewrite<'_>) -> Step<()> {
    let mut new = r.copy(super::Takes::All, &[])?;
    // `copy` drops trailing inputs that are left out; a loop's own are never last.
    for (name, attribute) in &r.node.attributes {
        if let Attribute::Graph(body) = attribute {
            let body = body_of(r, body)?;
            new.attributes.insert(name.clone(), Attribute::Graph(Box::new(body)));
        }
    }
    r.write(new)
}

/// The lowered body: its captures stand for the lowered values of the graph around it.
fn body_of(r: &mut Rewrite<'_>, source: &Graph) -> Step<Graph> {
    let failed = |error: pellucid_graph::GraphError| Refusal::Never(error.to_string());
    let mut graph = Graph::new();
    graph.name.clone_from(&source.name);
    let mut values: Vec<Option<ValueId>> = vec![None; source.values().len()];
    for id in source.value_ids() {
        let value = source.value(id);
        match value.origin {
            Origin::Input => {
                let element = lowered(value.element.ok_or_else(|| {
                    Refusal::Never(format!("the element type of body input {:?} is not known", value.name))
                })?);
                let input = graph.add_input(r.made.fresh(), element, value.shape.clone()).map_err(failed)?;
                values[id.index()] = Some(input);
            }
            Origin::Captured(outer) => {
                let Some(outer) = r.values[outer.index()] else { return Err(Refusal::Dependent) };
                let like = r.graph.value(outer).clone();
                let capture = graph.add_capture(r.made.fresh(), outer, &like).map_err(failed)?;
                values[id.index()] = Some(capture);
            }
            Origin::Constant(_) | Origin::Node(..) => {}
        }
    }
    let (refused, waiting) =
        lower_nodes(r.engine, source, &mut graph, &mut values, r.made).map_err(failed)?;
    if let Some(node) = refused.first() {
        return Err(Refusal::Never(format!("in its body, {node}")));
    }
    if let Some(node) = waiting.first() {
        return Err(Refusal::Sizes(format!("in its body, {node}")));
    }
    let mut outputs = Vec::new();
    for output in source.outputs() {
        let Some(value) = values[output.index()] else { return Err(Refusal::Dependent) };
        // A body's output must be computed in it, and once: constants, captures and repeats are passed through.
        let value = if outputs.contains(&value) || !matches!(graph.value(value).origin, Origin::Node(..)) {
            let mut new = super::rewrite::node("Identity", &[value]);
            new.outputs = vec![r.made.fresh()];
            graph.push_one(new).map_err(failed)?
        } else {
            value
        };
        outputs.push(value);
    }
    graph.set_outputs(outputs);
    Ok(graph)
}
