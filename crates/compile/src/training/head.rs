//! The last linear layer of a model, and the model with another in its place.

use std::collections::BTreeMap;

use pellucid_graph::{Graph, NewNode, NodeId, Tensor, ValueId};

use super::copy::{Changes, Copy};
use crate::error::{CompileError, Result};
use crate::layer::modules;
use crate::score;

/// The last linear layer: a `Gemm`, or a `MatMul` and the `Add` behind it, with constant weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// What people know it by: its module, else the name of its weight.
    pub name: String,
    /// Numbers that it takes.
    pub inputs: usize,
    /// Numbers that it gives.
    pub outputs: usize,
    node: NodeId,
    /// The position of its weight, and whether it is `[outputs, inputs]`.
    weight: usize,
    transposed: bool,
    /// The node that adds its bias, and at which position.
    bias: Option<(NodeId, usize)>,
}

/// Finds the last linear layer in front of the output called `output`, or the first. A final Softmax is stepped over, and
/// so is what changes no number of a row.
///
/// # Errors
/// [`CompileError::Model`] where the output is of something else, saying what.
pub fn head(model: &Graph, output: Option<&str>) -> Result<Head> {
    let mut value = score::find(model, output)?.value;
    let mut bias = None;
    loop {
        let Some(id) = model.producer_of(value) else {
            return Err(not_linear(model, output, "an input or a constant"));
        };
        let node = model.node(id);
        let operator = node.operator.as_str();
        let constant = |position: usize| node.input(position).and_then(|input| model.constant(input));
        match operator {
            "Identity" | "Dropout" | "Flatten" if bias.is_none() => {
                value = node.input(0).ok_or_else(|| not_linear(model, output, operator))?;
            }
            "Add" if bias.is_none() => {
                let at = (0..2).find(|at| constant(*at).is_some_and(|tensor| tensor.shape().len() == 1));
                let (at, other) = at
                    .and_then(|at| Some((at, node.input(1 - at)?)))
                    .ok_or_else(|| not_linear(model, output, operator))?;
                bias = Some((id, at));
                value = other;
            }
            "Gemm" | "MatMul" => {
                let own = (operator == "Gemm" && node.input(2).is_some()).then_some((id, 2));
                let shape = constant(1).map(|tensor| tensor.shape().to_vec());
                let plain = node.int("transA", 0) == 0 && (own.is_none() || bias.is_none());
                let Some([first, second]) = shape.as_deref().filter(|_| plain) else {
                    return Err(not_linear(model, output, &format!("{operator} of computed weights")));
                };
                let transposed = operator == "Gemm" && node.int("transB", 0) != 0;
                let (inputs, outputs) = if transposed { (*second, *first) } else { (*first, *second) };
                let weight = node.input(1).map(|weight| model.value(weight).name.clone()).unwrap_or_default();
                let name = modules(model, id).pop().unwrap_or(weight);
                return Ok(Head {
                    name,
                    inputs,
                    outputs,
                    node: id,
                    weight: 1,
                    transposed,
                    bias: bias.or(own),
                });
            }
            _ => return Err(not_linear(model, output, operator)),
        }
    }
}

fn not_linear(model: &Graph, output: Option<&str>, found: &str) -> CompileError {
    let first = model.outputs().first().map(|id| model.value(*id).name.as_str());
    let output = output.or(first).unwrap_or_default();
    CompileError::Model(format!(
        "the last linear layer cannot be told: output {output:?} is made by {found}, expected a Gemm, or a MatMul and an \
         Add, with constant weights"
    ))
}

/// The model with other numbers in its last linear layer: `weight` is `[outputs, inputs]`, `bias` `[outputs]`, which is
/// left out where the layer has none. What other layers read stays for them.
///
/// # Errors
/// Weights of another number of inputs; a model in which something behind the layer needs as many outputs as there were.
pub fn with_head(model: &Graph, head: &Head, weight: &Tensor, bias: &Tensor) -> Result<Graph> {
    let (&[outputs, inputs], &[biases]) = (weight.shape(), bias.shape()) else {
        return Err(CompileError::Setting("a head has a matrix of weights and a row of biases".to_owned()));
    };
    if inputs != head.inputs || biases != outputs {
        return Err(CompileError::Setting(format!(
            "{:?} takes {} numbers, and the new weights are {:?} with {biases} biases",
            head.name,
            head.inputs,
            weight.shape()
        )));
    }
    let weight = if head.transposed { weight.clone() } else { transposed(weight, outputs, inputs)? };
    let consumers = model.consumers();
    let mut replace = Replace { inputs: BTreeMap::new(), constants: BTreeMap::new() };
    let places =
        [Some((head.node, head.weight, weight)), head.bias.map(|(node, at)| (node, at, bias.clone()))];
    for (node, at, tensor) in places.into_iter().flatten() {
        let Some(id) = model.node(node).input(at) else { continue };
        let alone = consumers[id.index()] == [node] && !model.outputs().contains(&id);
        if alone {
            replace.constants.insert(id, tensor);
        } else {
            replace.inputs.insert((node, at), tensor);
        }
    }
    Ok(Copy::write(model, &mut replace)?.graph)
}

fn transposed(weight: &Tensor, outputs: usize, inputs: usize) -> Result<Tensor> {
    let size = weight.element().size();
    let rows = weight.bytes();
    let mut bytes = Vec::with_capacity(rows.len());
    for input in 0..inputs {
        for output in 0..outputs {
            let start = (output * inputs + input) * size;
            bytes.extend_from_slice(&rows[start..start + size]);
        }
    }
    Tensor::new(weight.element(), vec![inputs, outputs], bytes.into())
        .map_err(|error| CompileError::Emitted(error.to_string()))
}

/// Constants that become others, everywhere or where one node reads them.
struct Replace {
    constants: BTreeMap<ValueId, Tensor>,
    inputs: BTreeMap<(NodeId, usize), Tensor>,
}

impl Changes for Replace {
    fn constant(&mut self, copy: &mut Copy<'_>, id: ValueId, tensor: &Tensor) -> Result<ValueId> {
        copy.keep_constant(id, self.constants.get(&id).unwrap_or(tensor))
    }

    fn node(&mut self, copy: &mut Copy<'_>, id: NodeId, mut new: NewNode) -> Result<()> {
        for ((node, at), tensor) in &self.inputs {
            if *node == id {
                let name = copy.graph.fresh_name(&format!("{}.head.{at}", new.name));
                let constant = copy.graph.add_constant(name, tensor.clone())?;
                if let Some(input) = new.inputs.get_mut(*at) {
                    *input = Some(constant);
                }
            }
        }
        copy.push(id, new)
    }
}

#[cfg(test)]
mod tests {
    use pellucid_graph::{Attribute, Dim, ElementType};

    use super::*;

    /// x `[n, 3]` through `[2, 3]` weights, as a `Gemm` or as a `MatMul` with an `Add`.
    fn model(gemm: bool, shared: bool) -> Graph {
        let mut graph = Graph::new();
        let x = graph.add_input("x", ElementType::F32, Some(vec![Dim::symbol("n"), Dim::from(3)])).unwrap();
        let b = graph.add_constant("b", Tensor::from_f32(vec![2], &[0.5, -0.5]).unwrap()).unwrap();
        let numbers = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let shape = if gemm { vec![2, 3] } else { vec![3, 2] };
        let w = graph.add_constant("w", Tensor::from_f32(shape, &numbers).unwrap()).unwrap();
        let y = if gemm {
            let node = NewNode::new("Gemm", &[x, w, b], "y").with("transB", Attribute::Int(1));
            graph.push_one(NewNode { name: "/fc/Gemm".to_owned(), ..node }).unwrap()
        } else {
            let product = graph.push_one(NewNode::new("MatMul", &[x, w], "product")).unwrap();
            graph.push_one(NewNode::new("Add", &[b, product], "y")).unwrap()
        };
        let p = graph.push_one(NewNode::new("Softmax", &[y], "p")).unwrap();
        graph.add_output(p).unwrap();
        if shared {
            let other = graph.push_one(NewNode::new("Relu", &[w], "other")).unwrap();
            graph.add_output(other).unwrap();
        }
        graph
    }

    fn weights() -> (Tensor, Tensor) {
        let weight: Vec<f32> = (0..12u8).map(f32::from).collect();
        (
            Tensor::from_f32(vec![4, 3], &weight).unwrap(),
            Tensor::from_f32(vec![4], &[1.0, 2.0, 3.0, 4.0]).unwrap(),
        )
    }

    #[test]
    fn weights_of_either_form_are_replaced() {
        for gemm in [true, false] {
            let graph = model(gemm, false);
            let head = head(&graph, None).unwrap();
            assert_eq!((head.inputs, head.outputs), (3, 2));
            assert_eq!(head.name, if gemm { "fc" } else { "w" });
            let (weight, bias) = weights();
            let made = with_head(&graph, &head, &weight, &bias).unwrap();
            assert_eq!(
                pellucid_graph::display_shape(made.value(made.outputs()[0]).shape.as_ref().unwrap()),
                "[n, 4]"
            );
            let stored = made.constant(made.find("w").unwrap()).unwrap();
            let expected: Vec<f32> = if gemm {
                weight.to_f32()
            } else {
                (0..12u8).map(|place| f32::from(place % 4 * 3 + place / 4)).collect()
            };
            assert_eq!(stored.to_f32(), expected);
            assert_eq!(made.constant(made.find("b").unwrap()).unwrap(), &bias);
            assert_eq!(self::head(&made, None).unwrap().outputs, 4);
        }
    }

    #[test]
    fn what_other_layers_read_stays() {
        let graph = model(true, true);
        let (weight, bias) = weights();
        let made = with_head(&graph, &head(&graph, Some("p")).unwrap(), &weight, &bias).unwrap();
        assert_eq!(made.constant(made.find("w").unwrap()).unwrap().shape(), [2, 3]);
        assert_eq!(made.constant(made.find("/fc/Gemm.head.1").unwrap()).unwrap(), &weight);
    }

    #[test]
    fn what_is_no_linear_layer_is_told() {
        let mut graph = Graph::new();
        let shape = [Dim::symbol("n"), Dim::from(4), Dim::symbol("h"), Dim::symbol("w")];
        let x = graph.add_input("x", ElementType::F32, Some(shape.to_vec())).unwrap();
        let mean = graph.push_one(NewNode::new("GlobalAveragePool", &[x], "mean")).unwrap();
        let flat = graph.push_one(NewNode::new("Flatten", &[mean], "y")).unwrap();
        graph.add_output(flat).unwrap();
        let told = head(&graph, None).unwrap_err().to_string();
        assert_eq!(
            told,
            "the last linear layer cannot be told: output \"y\" is made by GlobalAveragePool, expected a Gemm, or a MatMul \
             and an Add, with constant weights"
        );
    }
}
