//! One graph behind another: values of the first stand for inputs of the second.

use std::collections::BTreeMap;

use pellucid_graph::{Attribute, ElementType, Graph, NewNode, Node, NodeId, Origin, ValueId};

use crate::error::Result;

/// `source` behind `graph`, whose values `given` stand for some of the source's inputs; other inputs become inputs. Nodes
/// and constants keep their names where these are free. Returns the graph, and what stands for each value of the
/// source (`None` for those that are only captured).
///
/// # Errors
/// None that two whole graphs could cause.
pub fn behind(
    graph: Graph,
    source: &Graph,
    given: &BTreeMap<ValueId, ValueId>,
) -> Result<(Graph, Vec<Option<ValueId>>)> {
    let mut chain = Chain { source, graph, here: vec![None; source.values().len()] };
    let mut nodes = source.node_ids();
    let mut next = 0;
    for id in source.value_ids() {
        let value = source.value(id);
        if let Some(known) = given.get(&id) {
            chain.here[id.index()] = Some(*known);
            continue;
        }
        let made = match &value.origin {
            Origin::Input => {
                let element = value.element.unwrap_or(ElementType::F32);
                chain.graph.add_input(value.name.clone(), element, value.shape.clone())?
            }
            Origin::Constant(tensor) => {
                let name = chain.graph.fresh_name(&value.name);
                chain.graph.add_constant(name, tensor.clone())?
            }
            Origin::Captured(_) => continue,
            Origin::Node(node, _) => {
                while next <= node.index() {
                    nodes.next().map(|node| chain.push(node)).transpose()?;
                    next += 1;
                }
                continue;
            }
        };
        chain.here[id.index()] = Some(made);
    }
    Ok((chain.graph, chain.here))
}

struct Chain<'a> {
    source: &'a Graph,
    graph: Graph,
    here: Vec<Option<ValueId>>,
}

impl Chain<'_> {
    fn push(&mut self, id: NodeId) -> Result<()> {
        let node: &Node = self.source.node(id);
        let name = |output: &Option<ValueId>| {
            output.map_or_else(String::new, |id| self.graph.fresh_name(&self.source.value(id).name))
        };
        let mut new = NewNode {
            operator: node.operator.clone(),
            name: node.name.clone(),
            inputs: node.inputs.iter().map(|input| input.and_then(|id| self.here[id.index()])).collect(),
            outputs: node.outputs.iter().map(name).collect(),
            attributes: node.attributes.clone(),
            metadata: node.metadata.clone(),
        };
        for attribute in new.attributes.values_mut() {
            if let Attribute::Graph(body) = attribute {
                body.renumber_captures(|outer| self.here[outer.index()].unwrap_or(outer));
            }
        }
        let made = self.graph.push(new)?;
        for (old, new) in node.outputs.iter().zip(&self.graph.node(made).outputs) {
            if let (Some(old), Some(new)) = (old, new) {
                self.here[old.index()] = Some(*new);
            }
        }
        Ok(())
    }
}
