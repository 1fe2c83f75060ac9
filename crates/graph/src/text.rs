//! A graph as text, for people and for snapshot tests.
//!
//! ```text
//! input %x: float32[n, 3, 224, 224]
//! constant %w: float32[64, 3, 7, 7]
//! constant %axes: int64[1] = [1]
//! %y: float32[n, 64, 112, 112] = Conv(%x, %w) {pads=[3, 3, 3, 3], strides=[2, 2]}
//! output %y
//! ```
//! The text is for reading only; nothing parses it. Node names and notes are left out.

use std::fmt::{self, Write};

use crate::dim::display_shape;
use crate::graph::{Graph, Origin, Value, ValueId};
use crate::node::{Attribute, Node};
use crate::tensor::Tensor;

/// Constants up to this many elements are printed with their contents.
const SHOWN: usize = 8;

impl Graph {
    /// The graph as text: inputs, constants, one line a node, outputs. Equal graphs print equally.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = write_graph(&mut text, self, None, "");
        text
    }
}

fn write_graph(text: &mut String, graph: &Graph, outer: Option<&Graph>, indent: &str) -> fmt::Result {
    for input in graph.inputs() {
        writeln!(text, "{indent}input {}", typed(graph.value(*input)))?;
    }
    for value in graph.values() {
        match &value.origin {
            Origin::Constant(tensor) => {
                writeln!(text, "{indent}constant {}{}", typed(value), contents(tensor))?;
            }
            Origin::Captured(id) => {
                let name = outer.map_or_else(|| "?".to_owned(), |outer| reference(&outer.value(*id).name));
                writeln!(text, "{indent}capture {} = outer {name}", typed(value))?;
            }
            Origin::Input | Origin::Node(..) => {}
        }
    }
    for node in graph.nodes() {
        write_node(text, graph, node, indent)?;
    }
    let outputs: Vec<String> = graph.outputs().iter().map(|id| reference(&graph.value(*id).name)).collect();
    writeln!(text, "{indent}output {}", outputs.join(", "))
}

fn write_node(text: &mut String, graph: &Graph, node: &Node, indent: &str) -> fmt::Result {
    let outputs: Vec<String> = node
        .outputs
        .iter()
        .map(|output| output.map_or_else(|| "_".to_owned(), |id| typed(graph.value(id))))
        .collect();
    let input =
        |id: &Option<ValueId>| id.map_or_else(|| "_".to_owned(), |id| reference(&graph.value(id).name));
    let inputs: Vec<String> = node.inputs.iter().map(input).collect();
    write!(text, "{indent}{} = {}({})", outputs.join(", "), node.operator, inputs.join(", "))?;
    let plain: Vec<String> = node
        .attributes
        .iter()
        .filter_map(|(name, attribute)| match attribute {
            Attribute::Graph(_) => None,
            Attribute::Tensor(tensor) => {
                Some(format!("{name}={}{:?}{}", tensor.element(), tensor.shape(), contents(tensor)))
            }
            other => Some(format!("{name}={other}")),
        })
        .collect();
    if !plain.is_empty() {
        write!(text, " {{{}}}", plain.join(", "))?;
    }
    text.push('\n');
    for (name, attribute) in &node.attributes {
        if let Attribute::Graph(body) = attribute {
            writeln!(text, "{indent}  {name}:")?;
            write_graph(text, body, Some(graph), &format!("{indent}    "))?;
        }
    }
    Ok(())
}

/// A value's name behind its mark, quoted where it would be misread.
fn reference(name: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_./:-'+~".contains(c);
    if !name.is_empty() && name.chars().all(plain) { format!("%{name}") } else { format!("%{name:?}") }
}

/// Name, element type and sizes; `?` for what is not known.
fn typed(value: &Value) -> String {
    let element = value.element.map_or("?", crate::element::ElementType::name);
    let shape = value.shape.as_ref().map_or_else(|| "[?]".to_owned(), |shape| display_shape(shape));
    format!("{}: {element}{shape}", reference(&value.name))
}

/// ` = …` where a constant is small.
fn contents(tensor: &Tensor) -> String {
    if tensor.len() > SHOWN {
        return String::new();
    }
    let numbers: Vec<String> = match tensor.to_i64() {
        Some(integers) => integers.iter().map(i64::to_string).collect(),
        None => tensor.to_f64().iter().map(f64::to_string).collect(),
    };
    if tensor.shape().is_empty() {
        format!(" = {}", numbers.join(", "))
    } else {
        format!(" = [{}]", numbers.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dim::Dim;
    use crate::element::ElementType;
    use crate::node::NewNode;

    #[test]
    fn graphs_print_readably() {
        let mut graph = Graph::new();
        let shape = vec![Dim::symbol("n"), Dim::known(4)];
        let x = graph.add_input("x", ElementType::F32, Some(shape)).unwrap();
        let w = graph.add_constant("a weight", Tensor::from_f32(vec![4, 3], &[0.0; 12]).unwrap()).unwrap();
        let half = graph.add_constant("half", Tensor::scalar(ElementType::F32, 0.5)).unwrap();
        let y = graph.push_one(NewNode::new("MatMul", &[x, w], "y")).unwrap();
        let z = graph.push_one(NewNode::new("Mul", &[y, half], "z")).unwrap();
        let alpha = NewNode::new("LeakyRelu", &[z], "out").with("alpha", Attribute::Float(0.1));
        let out = graph.push_one(alpha).unwrap();
        graph.add_output(out).unwrap();
        let expected = "\
input %x: float32[n, 4]
constant %\"a weight\": float32[4, 3]
constant %half: float32[] = 0.5
%y: float32[n, 3] = MatMul(%x, %\"a weight\")
%z: float32[n, 3] = Mul(%y, %half)
%out: float32[n, 3] = LeakyRelu(%z) {alpha=0.1}
output %out
";
        assert_eq!(graph.text(), expected);
    }
}
