//! Order of execution: nodes after what they take, cycles and values that nothing defines refused.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use super::draft::{Draft, DraftAttribute};
use super::error::{DecodeError, NodeName};

/// Names that are visible from outside a body.
pub(super) struct Visible<'a> {
    names: HashSet<&'a str>,
    outer: Option<&'a Visible<'a>>,
}

impl Visible<'_> {
    fn contains(&self, name: &str) -> bool {
        self.names.contains(name) || self.outer.is_some_and(|outer| outer.contains(name))
    }
}

/// Puts the nodes of `draft`, and of every body in it, in an order of execution. Nodes that are in order stay so.
pub(super) fn order(draft: &mut Draft, outer: Option<&Visible<'_>>) -> Result<(), DecodeError> {
    let places = places(draft, outer)?;
    let mut nodes: Vec<Option<_>> = std::mem::take(&mut draft.nodes).into_iter().map(Some).collect();
    draft.nodes = places.iter().filter_map(|place| nodes[*place].take()).collect();
    // Bodies see every name of this graph; that a node of it comes before theirs was just arranged.
    let Draft { inputs, constants, nodes, .. } = draft;
    if nodes.iter().all(|node| node.bodies().next().is_none()) {
        return Ok(());
    }
    let names: HashSet<String> = inputs
        .iter()
        .map(|input| input.name.clone())
        .chain(constants.iter().map(|(name, _)| name.clone()))
        .chain(nodes.iter().flat_map(|node| node.outputs.iter().cloned()))
        .filter(|name| !name.is_empty())
        .collect();
    let visible = Visible { names: names.iter().map(String::as_str).collect(), outer };
    for attribute in nodes.iter_mut().flat_map(|node| node.attributes.values_mut()) {
        if let DraftAttribute::Body(body) = attribute {
            order(body, Some(&visible))?;
        }
    }
    Ok(())
}

/// Positions of the nodes in an order of execution.
fn places(draft: &Draft, outer: Option<&Visible<'_>>) -> Result<Vec<usize>, DecodeError> {
    let producers = producers(draft)?;
    let mut waiting = vec![0usize; draft.nodes.len()];
    let mut takers: Vec<Vec<usize>> = vec![Vec::new(); draft.nodes.len()];
    for (place, node) in draft.nodes.iter().enumerate() {
        let free: Vec<String> = node.bodies().flat_map(Draft::free).collect();
        for (name, direct) in
            node.inputs.iter().map(|name| (name, true)).chain(free.iter().map(|name| (name, false)))
        {
            if name.is_empty() {
                continue;
            }
            match producers.get(name.as_str()) {
                Some(Some(producer)) => {
                    waiting[place] += 1;
                    takers[*producer].push(place);
                }
                Some(None) => {}
                None if outer.is_some_and(|outer| outer.contains(name)) => {}
                // What a body takes and nothing defines is reported with the node in the body.
                None if !direct => {}
                None => {
                    return Err(DecodeError::Undefined { node: node.display(), input: name.clone() });
                }
            }
        }
    }
    for output in &draft.outputs {
        if !producers.contains_key(output.as_str()) && !outer.is_some_and(|outer| outer.contains(output)) {
            return Err(DecodeError::UndefinedOutput(output.clone()));
        }
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..waiting.len()).filter(|place| waiting[*place] == 0).map(Reverse).collect();
    let mut places = Vec::with_capacity(draft.nodes.len());
    while let Some(Reverse(place)) = ready.pop() {
        places.push(place);
        for taker in &takers[place] {
            waiting[*taker] -= 1;
            if waiting[*taker] == 0 {
                ready.push(Reverse(*taker));
            }
        }
    }
    if places.len() == draft.nodes.len() {
        Ok(places)
    } else {
        Err(DecodeError::Cycle(cycle(draft, &waiting, &takers)))
    }
}

/// For every name that the graph defines, the node that computes it; `None` for inputs and constants.
fn producers(draft: &Draft) -> Result<HashMap<&str, Option<usize>>, DecodeError> {
    let mut producers: HashMap<&str, Option<usize>> = HashMap::new();
    let inputs = draft.inputs.iter().map(|input| (input.name.as_str(), None));
    let constants = draft.constants.iter().map(|(name, _)| (name.as_str(), None));
    let outputs = draft
        .nodes
        .iter()
        .enumerate()
        .flat_map(|(place, node)| node.outputs.iter().map(move |output| (output.as_str(), Some(place))));
    for (name, producer) in inputs.chain(constants).chain(outputs) {
        let left_out = name.is_empty() && producer.is_some();
        if !left_out && producers.insert(name, producer).is_some() {
            return Err(DecodeError::Duplicate(name.to_owned()));
        }
    }
    Ok(producers)
}

/// The nodes of one cycle, each taking from the one before it.
fn cycle(draft: &Draft, waiting: &[usize], takers: &[Vec<usize>]) -> Vec<NodeName> {
    // Every node that waits has one it waits for; walking from one to the next must come round.
    let mut waits_for = vec![None; waiting.len()];
    for (producer, takers) in takers.iter().enumerate() {
        if waiting[producer] > 0 {
            for taker in takers {
                waits_for[*taker] = Some(producer);
            }
        }
    }
    let mut walked: Vec<usize> = Vec::new();
    let mut seen = vec![false; waiting.len()];
    let mut next = (0..waiting.len()).find(|place| waiting[*place] > 0);
    while let Some(place) = next.filter(|place| !seen[*place]) {
        seen[place] = true;
        walked.push(place);
        next = waits_for[place];
    }
    let start = walked.iter().position(|place| Some(*place) == next).unwrap_or(0);
    let mut round: Vec<usize> = walked[start..].iter().rev().copied().collect();
    // Wherever the walk came in, the node that stands first in the file begins.
    let first = round.iter().enumerate().min_by_key(|(_, place)| **place).map_or(0, |(index, _)| index);
    round.rotate_left(first);
    round.iter().map(|place| draft.nodes[*place].display()).collect()
}
