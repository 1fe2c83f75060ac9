//! Copying a graph node by node, some nodes replaced.
//!
//! Order, names of values, names and metadata of nodes stay. A replacement sees the graph built so far, so it can look
//! at what became of the nodes before it; bodies of control flow are rewritten with it too.

use std::collections::BTreeMap;

use pellucid_graph::{Attribute, Graph, NewNode, Node, NodeId, Origin, ValueId};

use crate::build::{Builder, Var};
use crate::error::{CompileError, Result};

/// What to do with nodes that no output needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// They are dropped, and constants that nothing takes with them.
    Unreachable,
    /// They stay.
    Nothing,
}

/// Says which nodes are replaced, and by what.
pub trait Replace {
    /// Builds what replaces a node, one value for each of its outputs in order; `None` keeps the node.
    ///
    /// A value that stands for an output takes that output's name.
    fn replace<'g>(&mut self, site: &Site<'g, '_>) -> Result<Option<Vec<Var<'g>>>>;
}

/// A node about to be copied.
#[derive(Debug)]
pub struct Site<'g, 's> {
    /// The graph built so far; what is appended carries the node's metadata.
    pub builder: &'g Builder,
    /// The graph that is copied, and the node in it.
    pub source: &'s Graph,
    /// Position in the source.
    pub id: NodeId,
    /// The node's inputs in the graph built so far.
    pub inputs: &'s [Option<ValueId>],
    /// For every value of the source, the nodes of the source that take it.
    pub consumers: &'s [Vec<NodeId>],
    /// For every value of the source before this node, the value that stands for it.
    pub stands_for: &'s [Option<ValueId>],
}

impl<'g, 's> Site<'g, 's> {
    /// The node, its inputs and outputs being values of the source.
    pub fn node(&self) -> &'s Node {
        self.source.node(self.id)
    }

    /// The input at `index`, where it is given.
    pub fn input(&self, index: usize) -> Option<Var<'g>> {
        self.inputs.get(index).copied().flatten().map(|id| self.builder.var(id))
    }

    /// What stands for a value of the source that was defined before the node.
    pub fn stand_in(&self, source: ValueId) -> Option<Var<'g>> {
        self.stands_for.get(source.index()).copied().flatten().map(|id| self.builder.var(id))
    }

    /// Appends the one node that takes this one's place: its name is the node's own.
    pub fn emit(
        &self,
        operator: &str,
        inputs: &[Option<Var<'g>>],
        attributes: BTreeMap<String, Attribute>,
    ) -> Result<Var<'g>> {
        let node = self.node();
        let id = self.builder.edit(|graph| {
            let output = graph.fresh_name(&format!("{}.{operator}", self.builder.prefix()));
            graph.push_one(NewNode {
                operator: operator.to_owned(),
                name: node.name.clone(),
                inputs: inputs.iter().map(|input| input.map(Var::id)).collect(),
                outputs: vec![output],
                attributes,
                metadata: node.metadata.clone(),
            })
        })?;
        Ok(self.builder.var(id))
    }
}

/// A copy of `source` with some nodes replaced.
///
/// `prefix` begins the names of values that the replacements add; a number is added to it where the source has such
/// names already. Takes time and memory in proportion to the source's nodes; constants are shared.
pub fn rewrite(source: &Graph, prefix: &str, prune: Prune, replace: &mut dyn Replace) -> Result<Graph> {
    let mut copy = Copy::new(source, prefix)?;
    copy.run(prune, replace)?;
    let graph = copy.finish()?;
    match prune {
        Prune::Unreachable => Ok(graph.pruned()?),
        Prune::Nothing => Ok(graph),
    }
}

/// A prefix that begins no name of `graph`, so that what is added never takes a name that is copied later.
fn free_prefix(graph: &Graph, wanted: &str) -> String {
    let taken = |prefix: &str| {
        let start = format!("{prefix}.");
        graph.values().iter().any(|value| value.name.starts_with(&start))
    };
    let numbered = (2..).map(|number| format!("{wanted}{number}"));
    std::iter::once(wanted.to_owned())
        .chain(numbered)
        .find(|prefix| !taken(prefix))
        .expect("a graph has finitely many names")
}

struct Copy<'s> {
    source: &'s Graph,
    builder: Builder,
    prefix: String,
    stands_for: Vec<Option<ValueId>>,
    consumers: Vec<Vec<NodeId>>,
}

impl<'s> Copy<'s> {
    fn new(source: &'s Graph, prefix: &str) -> Result<Self> {
        let mut graph = Graph::new();
        graph.name.clone_from(&source.name);
        graph.producer.clone_from(&source.producer);
        graph.description.clone_from(&source.description);
        graph.metadata.clone_from(&source.metadata);
        let inputs_in_order = source.inputs().is_sorted();
        if !inputs_in_order {
            return Err(CompileError::Model("inputs are not in the order of their definition".to_owned()));
        }
        Ok(Self {
            source,
            builder: Builder::with_prefix(graph, &free_prefix(source, prefix)),
            prefix: prefix.to_owned(),
            stands_for: vec![None; source.values().len()],
            consumers: source.consumers(),
        })
    }

    fn run(&mut self, prune: Prune, replace: &mut dyn Replace) -> Result<()> {
        let mut pushed = 0;
        let nodes: Vec<NodeId> = self.source.node_ids().collect();
        for id in self.source.value_ids() {
            match &self.source.value(id).origin {
                Origin::Node(node, _) => {
                    // Nodes without outputs too come in their old order.
                    while pushed <= node.index() {
                        self.node(nodes[pushed], prune, replace)?;
                        pushed += 1;
                    }
                }
                _ => self.copy_value(id)?,
            }
        }
        for id in &nodes[pushed..] {
            self.node(*id, prune, replace)?;
        }
        Ok(())
    }

    fn copy_value(&mut self, id: ValueId) -> Result<()> {
        let value = self.source.value(id);
        let name = value.name.clone();
        let new = self.builder.edit(|graph| match &value.origin {
            Origin::Constant(tensor) => graph.add_constant(name, tensor.clone()),
            Origin::Captured(outer) => graph.add_capture(name, *outer, value),
            Origin::Input | Origin::Node(..) => {
                let element = value.element.unwrap_or(pellucid_graph::ElementType::F32);
                graph.add_input(name, element, value.shape.clone())
            }
        })?;
        self.stands_for[id.index()] = Some(new);
        Ok(())
    }

    fn node(&mut self, id: NodeId, prune: Prune, replace: &mut dyn Replace) -> Result<()> {
        let node = self.source.node(id);
        let inputs = node
            .inputs
            .iter()
            .map(|input| self.renumbered(*input))
            .collect::<Result<Vec<Option<ValueId>>>>()?;
        self.builder.annotate(&node.name, &node.metadata);
        let site = Site {
            builder: &self.builder,
            source: self.source,
            id,
            inputs: &inputs,
            consumers: &self.consumers,
            stands_for: &self.stands_for,
        };
        let replaced = replace.replace(&site)?.map(|vars| vars.into_iter().map(Var::id).collect::<Vec<_>>());
        self.builder.check()?;
        let stand_ins = match replaced {
            Some(ids) => self.name_outputs(node, &ids)?,
            None => self.keep(id, inputs, prune, replace)?,
        };
        for (old, new) in node.outputs.iter().zip(stand_ins) {
            if let Some(old) = old {
                self.stands_for[old.index()] = new;
            }
        }
        Ok(())
    }

    fn renumbered(&self, input: Option<ValueId>) -> Result<Option<ValueId>> {
        match input {
            None => Ok(None),
            Some(input) => match self.stands_for[input.index()] {
                Some(here) => Ok(Some(here)),
                None => Err(CompileError::Emitted(format!(
                    "nothing stands for {:?}",
                    self.source.value(input).name
                ))),
            },
        }
    }

    fn keep(
        &self,
        id: NodeId,
        inputs: Vec<Option<ValueId>>,
        prune: Prune,
        replace: &mut dyn Replace,
    ) -> Result<Vec<Option<ValueId>>> {
        let node = self.source.node(id);
        let mut attributes = node.attributes.clone();
        for (attribute_name, attribute) in &mut attributes {
            if let Attribute::Graph(body) = attribute {
                // Names in a body must differ from those around it.
                let prefix = format!("{}.{}.{attribute_name}", self.prefix, id.index());
                let mut rewritten = rewrite(body, &prefix, prune, replace)?;
                for (_, outer) in rewritten.captures() {
                    self.renumbered(Some(outer))?;
                }
                rewritten.renumber_captures(|outer| self.stands_for[outer.index()].unwrap_or(outer));
                **body = rewritten;
            }
        }
        let named = |output: &Option<ValueId>| {
            output.map_or_else(String::new, |output| self.source.value(output).name.clone())
        };
        let new = NewNode {
            operator: node.operator.clone(),
            name: node.name.clone(),
            inputs,
            outputs: node.outputs.iter().map(named).collect(),
            attributes,
            metadata: node.metadata.clone(),
        };
        self.builder.edit(|graph| {
            let pushed = graph.push(new)?;
            Ok(graph.node(pushed).outputs.clone())
        })
    }

    /// Gives replacements the names of what they replace.
    fn name_outputs(&self, node: &Node, ids: &[ValueId]) -> Result<Vec<Option<ValueId>>> {
        if ids.len() != node.outputs.len() {
            return Err(CompileError::Emitted(format!(
                "{} values replace the {} outputs of {}",
                ids.len(),
                node.outputs.len(),
                node.operator
            )));
        }
        let ours = format!("{}.", self.builder.prefix());
        let mut stand_ins = Vec::with_capacity(ids.len());
        for (output, id) in node.outputs.iter().zip(ids) {
            let Some(output) = output else {
                stand_ins.push(None);
                continue;
            };
            let name = &self.source.value(*output).name;
            let added = self.builder.graph().value(*id).name.starts_with(&ours);
            let shared = self.builder.is_shared(*id);
            stand_ins.push(Some(if added && !shared {
                self.builder.edit(|graph| graph.rename(*id, name))?;
                *id
            } else {
                // The value has a name, or a role, of its own.
                self.builder.named("Identity", self.builder.var(*id), name).id()
            }));
        }
        Ok(stand_ins)
    }

    fn finish(self) -> Result<Graph> {
        let outputs = self
            .source
            .outputs()
            .iter()
            .map(|output| self.renumbered(Some(*output)).map(|id| id.expect("a given value stays given")))
            .collect::<Result<Vec<_>>>()?;
        let mut graph = self.builder.finish()?;
        graph.set_outputs(outputs);
        Ok(graph)
    }
}
