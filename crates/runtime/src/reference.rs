//! The interpreter as a session.

use std::collections::BTreeMap;

use pellucid_graph::{Graph, NodeId, ValueId};
use pellucid_reference::Array as ReferenceArray;

use crate::array::Array;
use crate::check;
use crate::error::RuntimeError;
use crate::memory;
use crate::{Engine, Options, Port, Session};

/// A graph run by the interpreter.
pub(crate) struct ReferenceSession {
    graph: Graph,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    memory: Option<u64>,
}

impl ReferenceSession {
    pub(crate) fn open(graph: &Graph, options: &Options) -> Self {
        Self {
            graph: graph.clone(),
            inputs: check::ports(graph, graph.inputs()),
            outputs: check::ports(graph, graph.outputs()),
            memory: options.memory,
        }
    }

    fn peak(&self, sizes: &BTreeMap<String, i64>, wanted: &[ValueId]) -> Result<u64, RuntimeError> {
        let mut graph = self.graph.clone();
        let mut outputs = wanted.to_vec();
        outputs.sort_unstable();
        outputs.dedup();
        graph.set_outputs(outputs);
        let graph = graph.pruned()?.bind(sizes)?;
        let order: Vec<NodeId> = graph.node_ids().collect();
        let bytes = memory::bytes(&graph, &order, |_| 8);
        Ok(bytes.held.saturating_add(bytes.computed))
    }
}

impl Session for ReferenceSession {
    fn engine(&self) -> Engine {
        Engine::Reference
    }

    fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    fn memory(&self) -> Option<u64> {
        self.memory
    }

    fn run(&self, inputs: &[(&str, &Array)], outputs: &[&str]) -> Result<Vec<Array>, RuntimeError> {
        let fed = check::feed(&self.graph, inputs)?;
        let wanted = check::wanted(&self.graph, outputs)?;
        if let Some(allowed) = self.memory {
            let needed = self.peak(&fed.sizes, &wanted)?;
            if needed > allowed {
                return Err(RuntimeError::Memory { needed, allowed });
            }
        }
        let arrays: Vec<(ValueId, ReferenceArray)> =
            fed.values.iter().map(|(id, array)| (*id, array.to_reference())).collect();
        let results = pellucid_reference::run(&self.graph, &arrays, &wanted)?;
        Ok(wanted
            .iter()
            .zip(results)
            .map(|(id, array)| Array::from_reference(array, self.graph.value(*id).element))
            .collect())
    }

    fn peak_bytes(&self, sizes: &BTreeMap<String, i64>, outputs: &[&str]) -> Result<u64, RuntimeError> {
        let wanted = check::wanted(&self.graph, outputs)?;
        self.peak(sizes, &wanted)
    }
}
