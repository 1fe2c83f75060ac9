//! A graph written again, some of its values and nodes changed on the way. Names stay where nothing is said.

use pellucid_graph::{Attribute, ElementType, Graph, NewNode, NodeId, Origin, Tensor, Value, ValueId};

use crate::error::{CompileError, Result};

/// A copy of a graph, as far as it is written.
pub(super) struct Copy<'a> {
    source: &'a Graph,
    /// The copy.
    pub(super) graph: Graph,
    here: Vec<Option<ValueId>>,
}

/// What is changed.
pub(super) trait Changes {
    /// A constant of the source; by default it stays one.
    fn constant(&mut self, copy: &mut Copy<'_>, id: ValueId, tensor: &Tensor) -> Result<ValueId> {
        copy.keep_constant(id, tensor)
    }

    /// A node, its inputs those of the copy; by default it is appended.
    fn node(&mut self, copy: &mut Copy<'_>, id: NodeId, new: NewNode) -> Result<()> {
        copy.push(id, new)
    }
}

impl<'a> Copy<'a> {
    /// Copies `source` with `changes`, inputs and outputs in their order.
    pub(super) fn write(source: &'a Graph, changes: &mut dyn Changes) -> Result<Self> {
        let mut graph = Graph::new();
        graph.name.clone_from(&source.name);
        graph.producer.clone_from(&source.producer);
        graph.description.clone_from(&source.description);
        graph.metadata.clone_from(&source.metadata);
        let mut copy = Self { source, graph, here: vec![None; source.values().len()] };
        let nodes: Vec<NodeId> = source.node_ids().collect();
        let mut pushed = 0;
        for id in source.value_ids() {
            let value = source.value(id);
            match &value.origin {
                Origin::Input => {
                    let element = value.element.unwrap_or(ElementType::F32);
                    let new = copy.graph.add_input(value.name.clone(), element, value.shape.clone())?;
                    copy.here[id.index()] = Some(new);
                }
                Origin::Constant(tensor) => {
                    let new = changes.constant(&mut copy, id, tensor)?;
                    copy.here[id.index()] = Some(new);
                }
                Origin::Captured(_) => {
                    return Err(CompileError::Model("a body cannot be trained by itself".to_owned()));
                }
                Origin::Node(node, _) => {
                    while pushed <= node.index() {
                        let next = nodes[pushed];
                        let new = copy.node(next)?;
                        changes.node(&mut copy, next, new)?;
                        pushed += 1;
                    }
                }
            }
        }
        let outputs = source.outputs().iter().map(|id| copy.at(*id)).collect::<Result<Vec<_>>>()?;
        copy.graph.set_outputs(outputs);
        Ok(copy)
    }

    /// What stands for a value of the source.
    pub(super) fn at(&self, id: ValueId) -> Result<ValueId> {
        self.here.get(id.index()).copied().flatten().ok_or_else(|| {
            CompileError::Emitted(format!("nothing stands for {:?}", self.source.value(id).name))
        })
    }

    /// A value of the source.
    pub(super) fn of_source(&self, id: ValueId) -> &'a Value {
        self.source.value(id)
    }

    pub(super) fn keep_constant(&mut self, id: ValueId, tensor: &Tensor) -> Result<ValueId> {
        Ok(self.graph.add_constant(self.source.value(id).name.clone(), tensor.clone())?)
    }

    /// A constant that becomes an input of the same name.
    pub(super) fn as_input(&mut self, id: ValueId, tensor: &Tensor) -> Result<ValueId> {
        let value = self.source.value(id);
        Ok(self.graph.add_input(value.name.clone(), tensor.element(), value.shape.clone())?)
    }

    /// A node of the source on what stands for its inputs.
    fn node(&self, id: NodeId) -> Result<NewNode> {
        let old = self.source.node(id);
        let inputs = old
            .inputs
            .iter()
            .map(|input| input.map(|input| self.at(input)).transpose())
            .collect::<Result<Vec<_>>>()?;
        let name = |output: &Option<ValueId>| {
            output.map_or_else(String::new, |id| self.source.value(id).name.clone())
        };
        let mut attributes = old.attributes.clone();
        for attribute in attributes.values_mut() {
            if let Attribute::Graph(body) = attribute {
                body.renumber_captures(|outer| self.here[outer.index()].unwrap_or(outer));
            }
        }
        Ok(NewNode {
            operator: old.operator.clone(),
            name: old.name.clone(),
            inputs,
            outputs: old.outputs.iter().map(name).collect(),
            attributes,
            metadata: old.metadata.clone(),
        })
    }

    /// Appends a node for one of the source, whose outputs its first outputs then stand for.
    pub(super) fn push(&mut self, id: NodeId, new: NewNode) -> Result<()> {
        let pushed = self.graph.push(new)?;
        let outputs = self.graph.node(pushed).outputs.clone();
        for (old, new) in self.source.node(id).outputs.iter().zip(outputs) {
            if let (Some(old), Some(new)) = (old, new) {
                self.here[old.index()] = Some(new);
            }
        }
        Ok(())
    }
}
