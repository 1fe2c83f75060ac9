//! Nodes and facts as text.
//!
//! `Conv(float32[n, 3, 8, 8], float32[4, 3, 3, 3]) strides=[2, 2]` is a node. An input is
//! `float32[n, 3]`, `float32?` (unknown rank), `{1, -2}` or `#1` (constant `int64` vector or scalar), `f{0.5}` or
//! `f#0.5` (`float32`), `b{1, 0}` (`bool`), `<n, 3>` (an `int64` vector of sizes), or `_` (left out). `outputs=2`
//! asks for two outputs; they are called `y` and `y1`.

use std::collections::BTreeMap;

use pellucid_graph::{
    Attribute, Dim, ElementType, Graph, GraphError, NewNode, NodeId, Shape, Tensor, ValueId, display_shape,
};

/// Compares the facts of every node with what is expected, and lists all that differ.
pub(crate) fn check(cases: &[(&str, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .filter_map(|(node, expected)| {
            let found = facts(node);
            (found != *expected).then(|| format!("{node}\n  found    {found}\n  expected {expected}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// Facts of a node's outputs: `float32[n, 4]`, and ` = [n, 3]` where contents are known.
pub(crate) fn facts(text: &str) -> String {
    let (graph, id) = build(text);
    match id {
        Ok(id) => {
            let outputs = graph.node(id).outputs.clone();
            outputs.iter().flatten().for_each(|output| assert_within_limits(&graph, *output));
            let texts = outputs.into_iter().flatten().map(|output| describe(&graph, output));
            texts.collect::<Vec<_>>().join("; ")
        }
        Err(error) => {
            let text = error.to_string();
            format!("error: {}", text.split_once(": ").map_or(text.as_str(), |(_, problem)| problem))
        }
    }
}

/// A graph of the node and its inputs.
pub(crate) fn build(text: &str) -> (Graph, Result<NodeId, GraphError>) {
    let mut graph = Graph::new();
    let (operator, rest) = text.split_once('(').expect("a node has an operator");
    let (inputs, attributes) = rest.rsplit_once(')').expect("inputs end with a parenthesis");
    let inputs = split(inputs, ',').map(|input| add_input(&mut graph, &input)).collect();
    let mut count = 1;
    let mut named = BTreeMap::new();
    for attribute in split(attributes, ' ') {
        let (name, value) = attribute.split_once('=').expect("an attribute has a value");
        if name == "outputs" {
            count = value.parse().unwrap();
        } else {
            named.insert(name.to_owned(), attribute_of(value));
        }
    }
    let outputs = (0..count).map(|index| if index == 0 { "y".to_owned() } else { format!("y{index}") });
    let node = NewNode {
        operator: operator.to_owned(),
        inputs,
        outputs: outputs.collect(),
        attributes: named,
        ..NewNode::default()
    };
    let id = graph.push(node);
    (graph, id)
}

/// No size is negative, no value has more than 2³¹ elements, and contents are as many as the elements.
pub(crate) fn assert_within_limits(graph: &Graph, id: ValueId) {
    let value = graph.value(id);
    let known: Vec<i64> = value.shape.iter().flatten().filter_map(Dim::value).collect();
    assert!(known.iter().all(|size| *size >= 0), "{}", describe(graph, id));
    let count = known.iter().try_fold(1i64, |count, size| count.checked_mul(*size));
    let count = if known.contains(&0) { Some(0) } else { count };
    assert!(count.is_some_and(|count| count <= 1 << 31), "{}", describe(graph, id));
    if let Some(contents) = &value.contents {
        assert_eq!(count.and_then(|count| usize::try_from(count).ok()), Some(contents.len()));
    }
}

pub(crate) fn describe(graph: &Graph, id: ValueId) -> String {
    let value = graph.value(id);
    let element = value.element.map_or_else(|| "?".to_owned(), |element| element.to_string());
    let shape = value.shape.as_deref().map_or_else(|| "?".to_owned(), display_shape);
    match &value.contents {
        Some(contents) => format!("{element}{shape} = {}", display_shape(contents)),
        None => format!("{element}{shape}"),
    }
}

/// Parts between separators that stand outside brackets, without blanks around them; empty ones are left out.
fn split(text: &str, separator: char) -> impl Iterator<Item = String> + use<> {
    let mut depth = 0;
    let mut parts = vec![String::new()];
    for letter in text.chars() {
        match letter {
            '[' | '{' | '<' => depth += 1,
            ']' | '}' | '>' => depth -= 1,
            _ => {}
        }
        if letter == separator && depth == 0 {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(letter);
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty())
}

fn numbers<T: std::str::FromStr>(text: &str) -> Vec<T>
where
    T::Err: std::fmt::Debug,
{
    let inner = text.trim_matches(['[', ']', '{', '}', '<', '>']);
    split(inner, ',').map(|number| number.parse().unwrap()).collect()
}

fn sizes(text: &str) -> Shape {
    split(text.trim_matches(['[', ']', '<', '>']), ',')
        .map(|size| match size.parse::<i64>() {
            Ok(size) => Dim::known(size.max(0)),
            Err(_) => Dim::symbol(size.as_str()),
        })
        .collect()
}

fn attribute_of(text: &str) -> Attribute {
    if text.starts_with('[') {
        return Attribute::Ints(numbers(text));
    }
    if let Ok(number) = text.parse() {
        return Attribute::Int(number);
    }
    text.parse()
        .map_or_else(|_| Attribute::String(text.replace('_', " ").replace("  ", "_")), Attribute::Float)
}

fn add_input(graph: &mut Graph, text: &str) -> Option<ValueId> {
    let name = format!("x{}", graph.values().len());
    let id = match text.as_bytes() {
        b"_" => return None,
        [b'{', ..] => graph.add_constant(name, Tensor::integers(&numbers(text))),
        [b'#', ..] => {
            graph.add_constant(name, Tensor::from_i64(vec![], &[text[1..].parse().unwrap()]).unwrap())
        }
        [b'f', b'{', ..] => {
            let values: Vec<f32> = numbers(&text[1..]);
            graph.add_constant(name, Tensor::from_f32(vec![values.len()], &values).unwrap())
        }
        [b'f', b'#', ..] => {
            let value = text[2..].parse().unwrap();
            graph.add_constant(name, Tensor::from_f32(vec![], &[value]).unwrap())
        }
        [b'b', b'{', ..] => {
            let values: Vec<f64> = numbers(&text[1..]);
            let tensor = Tensor::from_values(ElementType::Bool, vec![values.len()], &values);
            graph.add_constant(name, tensor.unwrap())
        }
        [b'<', ..] => {
            let source =
                graph.add_input(format!("{name}.source"), ElementType::F32, Some(sizes(text))).unwrap();
            graph.push_one(NewNode::new("Shape", &[source], name))
        }
        _ => {
            let end = text.find(['[', '?']).unwrap_or(text.len());
            let element = ElementType::ALL.into_iter().find(|element| element.name() == &text[..end]);
            let shape = text[end..].starts_with('[').then(|| sizes(&text[end..]));
            graph.add_input(name, element.expect("an element type"), shape)
        }
    };
    Some(id.unwrap())
}
