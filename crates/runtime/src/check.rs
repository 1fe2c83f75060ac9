//! Names, element types and shapes of what is fed, checked before any engine sees it.

use std::collections::BTreeMap;

use pellucid_graph::{Dim, Graph, ValueId, display_shape};

use crate::Port;
use crate::array::{Array, Kind};
use crate::error::RuntimeError;

/// Inputs that were found to fit.
#[derive(Debug)]
pub(crate) struct Fed<'a> {
    /// Values by id in the source graph, in rising order of ids.
    pub(crate) values: BTreeMap<ValueId, &'a Array>,
    /// What the symbols in the inputs' sizes stand for.
    pub(crate) sizes: BTreeMap<String, i64>,
}

/// The ports of `ids`.
pub(crate) fn ports(graph: &Graph, ids: &[ValueId]) -> Vec<Port> {
    ids.iter()
        .map(|id| {
            let value = graph.value(*id);
            Port { name: value.name.clone(), element: value.element, shape: value.shape.clone() }
        })
        .collect()
}

/// Checks everything that is fed.
pub(crate) fn feed<'a>(graph: &Graph, inputs: &[(&str, &'a Array)]) -> Result<Fed<'a>, RuntimeError> {
    let mut fed = Fed { values: BTreeMap::new(), sizes: BTreeMap::new() };
    for (name, array) in inputs {
        let Some(id) = graph.find(name) else {
            return Err(RuntimeError::UnknownInput {
                name: (*name).to_owned(),
                inputs: names(graph, graph.inputs()),
            });
        };
        if fed.values.insert(id, array).is_some() {
            return Err(RuntimeError::DuplicateInput((*name).to_owned()));
        }
        check_element(graph, id, array)?;
        check_shape(graph, id, array, &mut fed.sizes)?;
    }
    // Sizes such as 2·n can be compared once every bare symbol has been met.
    for (id, array) in &fed.values {
        for (dim, found) in graph.value(*id).shape.iter().flatten().zip(array.shape()) {
            let bound = dim.bind(&fed.sizes).and_then(|dim| dim.size());
            if bound.is_some_and(|size| size != *found) {
                return Err(shape_error(graph, *id, array));
            }
        }
    }
    Ok(fed)
}

fn check_element(graph: &Graph, id: ValueId, array: &Array) -> Result<(), RuntimeError> {
    let value = graph.value(id);
    let Some(element) = value.element else { return Ok(()) };
    let (found, expected) = (array.kind(), Kind::of(element));
    if found == expected {
        return Ok(());
    }
    Err(RuntimeError::InputElement {
        name: value.name.clone(),
        found: found.name(),
        expected: expected.name(),
    })
}

fn check_shape(
    graph: &Graph,
    id: ValueId,
    array: &Array,
    sizes: &mut BTreeMap<String, i64>,
) -> Result<(), RuntimeError> {
    let value = graph.value(id);
    let Some(shape) = &value.shape else { return Ok(()) };
    if shape.len() != array.shape().len() {
        return Err(shape_error(graph, id, array));
    }
    for (dim, found) in shape.iter().zip(array.shape()) {
        if let Some(size) = dim.value() {
            if usize::try_from(size) != Ok(*found) {
                return Err(shape_error(graph, id, array));
            }
        } else if let Some(symbol) = dim.as_symbol() {
            let found = i64::try_from(*found).unwrap_or(i64::MAX);
            match sizes.insert(symbol.to_owned(), found) {
                Some(expected) if expected != found => {
                    return Err(RuntimeError::InputSymbol {
                        name: value.name.clone(),
                        symbol: symbol.to_owned(),
                        found,
                        expected,
                    });
                }
                _ => {}
            }
        }
    }
    Ok(())
}

fn shape_error(graph: &Graph, id: ValueId, array: &Array) -> RuntimeError {
    let value = graph.value(id);
    RuntimeError::InputShape {
        name: value.name.clone(),
        found: array.shape().to_vec(),
        expected: expected_shape(value.shape.as_deref()),
    }
}

fn expected_shape(shape: Option<&[Dim]>) -> String {
    shape.map_or_else(|| "any".to_owned(), display_shape)
}

/// The error that `id` is needed and was not fed.
pub(crate) fn missing(graph: &Graph, id: ValueId) -> RuntimeError {
    let value = graph.value(id);
    let element = value.element.map_or("an unknown type", |element| Kind::of(element).name());
    RuntimeError::MissingInput {
        name: value.name.clone(),
        expected: format!("expected {element} of shape {}", expected_shape(value.shape.as_deref())),
    }
}

/// Ids of the values asked for.
pub(crate) fn wanted(graph: &Graph, outputs: &[&str]) -> Result<Vec<ValueId>, RuntimeError> {
    outputs
        .iter()
        .map(|name| {
            graph.find(name).ok_or_else(|| RuntimeError::UnknownOutput {
                name: (*name).to_owned(),
                outputs: names(graph, graph.outputs()),
            })
        })
        .collect()
}

fn names(graph: &Graph, ids: &[ValueId]) -> Vec<String> {
    ids.iter().map(|id| graph.value(*id).name.clone()).collect()
}
