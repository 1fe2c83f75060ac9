//! Sequences that exporters make of a tensor's parts: `SplitToSequence` whose parts are taken by constant positions
//! becomes `Split`, slices or gathered positions. Graphs hold tensors only.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::draft::{Draft, DraftAttribute, DraftNode};
use super::error::NodeName;
use crate::node::Attribute;
use crate::tensor::Tensor;

/// Most parts of one sequence; all splits together may have the square of it.
const MANY: usize = 1024;

/// Whether an operator makes or takes sequences in a way that may be rewritten.
pub(super) fn concerns(operator: &str) -> bool {
    matches!(operator, "SplitToSequence" | "SequenceAt")
}

/// Rewrites what can be, in `draft` and in every body; adds the nodes that cannot be to `unknown`.
pub(super) fn rewrite(draft: &mut Draft, used: &mut HashSet<String>, unknown: &mut Vec<NodeName>) {
    for attribute in draft.nodes.iter_mut().flat_map(|node| node.attributes.values_mut()) {
        if let DraftAttribute::Body(body) = attribute {
            rewrite(body, used, unknown);
        }
    }
    if !draft.nodes.iter().any(|node| concerns(&node.operator)) {
        return;
    }
    let index = Index::new(draft);
    let mut rewriter = Rewriter {
        index,
        constants: Vec::new(),
        used,
        next: 1,
        outputs: 0,
        made: HashMap::new(),
        done: HashSet::new(),
    };
    for (place, node) in draft.nodes.iter().enumerate() {
        if node.operator == "SplitToSequence"
            && let Some(parts) = rewriter.index.parts(draft, place)
        {
            rewriter.parts(draft, place, &parts);
        }
    }
    let Rewriter { constants, made, done, .. } = rewriter;
    let mut made = made;
    let nodes = std::mem::take(&mut draft.nodes);
    for (place, node) in nodes.into_iter().enumerate() {
        match made.remove(&place) {
            Some(node) => draft.nodes.push(node),
            None if done.contains(&place) => {}
            None => {
                if concerns(&node.operator) {
                    unknown.push(node.display());
                }
                draft.nodes.push(node);
            }
        }
    }
    draft.constants.extend(constants);
}

/// Who takes what, and the constants by name.
struct Index<'a> {
    takers: HashMap<&'a str, Vec<usize>>,
    /// Taken by a body, or an output.
    elsewhere: HashSet<String>,
    constants: HashMap<&'a str, &'a Tensor>,
}

impl<'a> Index<'a> {
    fn new(draft: &'a Draft) -> Self {
        let mut takers: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut elsewhere: HashSet<String> = draft.outputs.iter().cloned().collect();
        for (place, node) in draft.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|input| takers.entry(input).or_default().push(place));
            node.bodies().for_each(|body| elsewhere.extend(body.free()));
        }
        let constants = draft.constants.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
        Self { takers, elsewhere, constants }
    }

    /// Nodes that take parts of the sequence that the node at `place` makes, with their positions in it; `None` where
    /// anything else takes the sequence.
    fn parts(&self, draft: &Draft, place: usize) -> Option<Vec<(usize, i64)>> {
        let sequence = draft.nodes[place].outputs.first().filter(|name| !name.is_empty())?;
        if self.elsewhere.contains(sequence) || draft.nodes[place].inputs.is_empty() {
            return None;
        }
        let mut parts = Vec::new();
        for taker in self.takers.get(sequence.as_str()).into_iter().flatten() {
            let node = &draft.nodes[*taker];
            let [first, position] = node.inputs.as_slice() else {
                return None;
            };
            if node.operator != "SequenceAt" || first != sequence || node.outputs.len() != 1 {
                return None;
            }
            let position = self.constants.get(position.as_str()).filter(|tensor| tensor.len() == 1)?;
            let [position] = position.to_i64()?[..] else {
                return None;
            };
            parts.push((*taker, position));
        }
        Some(parts)
    }
}

fn int(node: &DraftNode, name: &str, default: i64) -> i64 {
    match node.attributes.get(name) {
        Some(DraftAttribute::Plain(Attribute::Int(value))) => *value,
        _ => default,
    }
}

struct Rewriter<'a> {
    index: Index<'a>,
    constants: Vec<(String, Tensor)>,
    used: &'a mut HashSet<String>,
    next: u64,
    /// Outputs of splits so far.
    outputs: usize,
    /// New nodes by the place that they take.
    made: HashMap<usize, DraftNode>,
    /// Places whose nodes are no longer needed.
    done: HashSet<usize>,
}

impl Rewriter<'_> {
    /// Rewrites the sequence made at `place` where its parts' sizes are known.
    fn parts(&mut self, draft: &Draft, place: usize, parts: &[(usize, i64)]) {
        let split = &draft.nodes[place];
        let axis = int(split, "axis", 0);
        let sizes = split.inputs.get(1).filter(|name| !name.is_empty());
        let Some(sizes) = sizes else {
            // Single positions along the axis, which stays or goes.
            if int(split, "keepdims", 1) == 0 {
                for (taker, position) in parts {
                    self.gather(draft, place, *taker, *position, axis);
                }
                self.done.insert(place);
            } else {
                self.chunks(draft, place, parts, 1, axis);
            }
            return;
        };
        let Some((shape, values)) = self
            .index
            .constants
            .get(sizes.as_str())
            .and_then(|tensor| Some((tensor.shape().len(), tensor.to_i64()?)))
        else {
            return;
        };
        match (shape, values.as_slice()) {
            (0, [size]) if *size > 0 => self.chunks(draft, place, parts, *size, axis),
            (1, sizes) if self.outputs < MANY * MANY => self.split(draft, place, parts, sizes, axis),
            _ => {}
        }
    }

    /// Parts of the same size but for the last.
    fn chunks(&mut self, draft: &Draft, place: usize, parts: &[(usize, i64)], size: i64, axis: i64) {
        // A part counted from the end starts where the length says, which is not known here.
        let bounds: Option<Vec<(i64, i64)>> = parts
            .iter()
            .map(|(_, position)| {
                let start = position.checked_mul(size).filter(|start| *start >= 0)?;
                Some((start, start.checked_add(size)?))
            })
            .collect();
        let Some(bounds) = bounds else {
            return;
        };
        for ((taker, _), (start, end)) in parts.iter().zip(bounds) {
            let output = &draft.nodes[*taker].outputs[0];
            let mut inputs = vec![draft.nodes[place].inputs[0].clone()];
            for (name, value) in [("start", start), ("end", end), ("axis", axis)] {
                inputs.push(self.constant(&format!("{output}.{name}"), Tensor::integers(&[value])));
            }
            self.replace(draft, *taker, "Slice", inputs, BTreeMap::new());
        }
        self.done.insert(place);
    }

    fn gather(&mut self, draft: &Draft, place: usize, taker: usize, position: i64, axis: i64) {
        let Ok(index) = Tensor::from_i64(Vec::new(), &[position]) else {
            return;
        };
        let output = &draft.nodes[taker].outputs[0];
        let index = self.constant(&format!("{output}.index"), index);
        let inputs = vec![draft.nodes[place].inputs[0].clone(), index];
        let axis = BTreeMap::from([("axis".to_owned(), DraftAttribute::Plain(Attribute::Int(axis)))]);
        self.replace(draft, taker, "Gather", inputs, axis);
    }

    /// Parts of given sizes: one node gives them all.
    fn split(&mut self, draft: &Draft, place: usize, parts: &[(usize, i64)], sizes: &[i64], axis: i64) {
        let node = &draft.nodes[place];
        let mut outputs = vec![String::new(); sizes.len()];
        let mut copies: Vec<(usize, usize)> = Vec::new();
        for (taker, position) in parts {
            let from_end = i64::try_from(sizes.len()).ok().and_then(|count| count.checked_add(*position));
            let position = if *position < 0 { from_end } else { Some(*position) };
            let Some(index) =
                position.and_then(|index| usize::try_from(index).ok()).filter(|i| *i < sizes.len())
            else {
                return;
            };
            if outputs[index].is_empty() {
                outputs[index].clone_from(&draft.nodes[*taker].outputs[0]);
            } else {
                copies.push((*taker, index));
            }
        }
        for (taker, index) in copies {
            self.replace(draft, taker, "Identity", vec![outputs[index].clone()], BTreeMap::new());
        }
        for (index, output) in outputs.iter_mut().enumerate().filter(|(_, output)| output.is_empty()) {
            *output = self.fresh(&format!("{}.{index}", node.outputs[0]));
        }
        let name = self.constant(&format!("{}.sizes", node.outputs[0]), Tensor::integers(sizes));
        self.done.extend(parts.iter().map(|(taker, _)| *taker));
        let mut made = node.clone();
        "Split".clone_into(&mut made.operator);
        // The form of opset 18, whatever the file's.
        made.opset = made.opset.max(18);
        made.inputs = vec![node.inputs[0].clone(), name];
        made.outputs = outputs;
        made.attributes = BTreeMap::from([("axis".to_owned(), DraftAttribute::Plain(Attribute::Int(axis)))]);
        self.outputs += sizes.len();
        self.made.insert(place, made);
    }

    fn replace(
        &mut self,
        draft: &Draft,
        place: usize,
        operator: &str,
        inputs: Vec<String>,
        attributes: BTreeMap<String, DraftAttribute>,
    ) {
        let mut made = draft.nodes[place].clone();
        operator.clone_into(&mut made.operator);
        made.opset = made.opset.max(18);
        made.inputs = inputs;
        made.attributes = attributes;
        self.made.insert(place, made);
    }

    fn constant(&mut self, wanted: &str, tensor: Tensor) -> String {
        let name = self.fresh(wanted);
        self.constants.push((name.clone(), tensor));
        name
    }

    fn fresh(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        while self.used.contains(&name) {
            name = format!("{wanted}.{}", self.next);
            self.next += 1;
        }
        self.used.insert(name.clone());
        name
    }
}
