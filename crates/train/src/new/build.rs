//! A network under construction: nodes, constants and names, appended one after the other. Layers are in `layers.rs`.

use std::collections::BTreeSet;

use pellucid::Error;
use pellucid_data::random::Stream;
use pellucid_graph::{Dim, ElementType, Graph, NewNode, Tensor, ValueId, element_count};

use super::initial::{Fans, Initial};

/// Most numbers that are drawn: 4 GiB of them.
const MOST_PARAMETERS: usize = 1 << 30;

/// A network under construction.
pub(super) struct Network {
    pub(super) graph: Graph,
    /// What the next layer takes.
    pub(super) value: ValueId,
    seed: u64,
    drawn: u64,
    parameters: usize,
    modules: BTreeSet<String>,
    /// Limits of rectifiers that saturate, which every one of them reads.
    pub(super) limits: Option<[ValueId; 2]>,
}

impl Network {
    pub(super) fn new(input: &[usize], seed: u64) -> Result<Self, Error> {
        let mut graph = Graph::new();
        let shape =
            std::iter::once(Dim::symbol("n")).chain(input.iter().map(|size| Dim::from(*size))).collect();
        let value = graph.add_input("input", ElementType::F32, Some(shape))?;
        Ok(Self { graph, value, seed, drawn: 0, parameters: 0, modules: BTreeSet::new(), limits: None })
    }

    /// Sizes of a row of what the next layer takes.
    pub(super) fn sizes(&self) -> Vec<usize> {
        let shape = self.graph.value(self.value).shape.as_ref();
        shape.map(|shape| shape.iter().skip(1).filter_map(Dim::size).collect()).unwrap_or_default()
    }

    /// Channels of what the next layer takes.
    pub(super) fn channels(&self) -> usize {
        self.sizes().first().copied().unwrap_or(1)
    }

    pub(super) fn constant(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Result<ValueId, Error> {
        let tensor =
            Tensor::from_f32(shape.to_vec(), values).map_err(|error| Error::Internal(error.to_string()))?;
        Ok(self.graph.add_constant(name, tensor)?)
    }

    /// A weight that is drawn.
    pub(super) fn weight(
        &mut self,
        name: &str,
        shape: &[usize],
        fans: Fans,
        initial: Initial,
    ) -> Result<ValueId, Error> {
        let count = element_count(shape).filter(|count| *count <= MOST_PARAMETERS - self.parameters);
        let count = count.ok_or_else(|| Error::Setting {
            name: name.to_owned(),
            problem: format!("with {shape:?} the network has more than {MOST_PARAMETERS} parameters"),
        })?;
        self.parameters += count;
        let values = match initial.drawing(fans) {
            None => vec![0.0; count],
            Some(mut draw) => {
                // Each weight has numbers of its own, so that another width changes no other layer.
                self.drawn += 1;
                let mut stream = Stream::new(self.seed, &[1, self.drawn]);
                #[expect(clippy::cast_possible_truncation, reason = "weights are float32")]
                let values = (0..count).map(|_| draw(&mut stream) as f32).collect();
                values
            }
        };
        self.constant(name, shape, &values)
    }

    /// Appends a node of a module, whose path has dots, under the name that PyTorch's older exporter gives it.
    pub(super) fn push(&mut self, module: &str, new: NewNode) -> Result<ValueId, Error> {
        let mut path = String::new();
        let mut child = String::new();
        for part in module.split('.').filter(|part| !part.is_empty()) {
            // A number is a child that is called after its parent.
            let numbered = part.bytes().all(|byte| byte.is_ascii_digit());
            child = if numbered && !child.is_empty() { format!("{child}.{part}") } else { part.to_owned() };
            path.push('/');
            path.push_str(&child);
        }
        let name = format!("{path}/{}", new.operator);
        let output = self.graph.fresh_name(&format!("{name}_output_0"));
        self.value = self.graph.push_one(NewNode { name, outputs: vec![output], ..new })?;
        Ok(self.value)
    }

    /// The name of a module that is used once more: `relu`, then `relu_1`, as exporters have it.
    pub(super) fn again(&mut self, module: &str) -> String {
        let mut name = module.to_owned();
        let mut times = 0;
        while !self.modules.insert(name.clone()) {
            times += 1;
            name = format!("{module}_{times}");
        }
        name
    }

    pub(super) fn finish(mut self, name: &str) -> Result<Graph, Error> {
        self.graph.rename(self.value, "logits")?;
        self.graph.add_output(self.value)?;
        name.clone_into(&mut self.graph.name);
        "pellucid".clone_into(&mut self.graph.producer);
        Ok(self.graph)
    }
}
