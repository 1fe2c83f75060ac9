//! From a [`Draft`] in order of execution to a [`Graph`]: names become values, every node takes the form of opset 18,
//! bodies see the enclosing graph through captures, and an `If` whose condition is known is replaced by its branch.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::draft::{Draft, DraftAttribute, DraftInput, DraftNode};
use super::error::DecodeError;
use super::expansions;
use super::limits::Limits;
use super::proto::TensorShape;
use super::scan::{check, count};
use super::types;
use super::upgrade;
use crate::dim::{Dim, Shape};
use crate::element::ElementType;
use crate::error::GraphError;
use crate::graph::{Graph, Value, ValueId};
use crate::node::{Attribute, NewNode};
use crate::tensor::Tensor;

/// Builds the model's graph.
pub(super) fn build(draft: Draft, limits: &Limits) -> Result<Graph, DecodeError> {
    let mut shared = Shared { limits, followed: 0 };
    Builder::build(draft, HashMap::new(), &[], &mut shared)
}

/// What builders of nested bodies count together.
struct Shared<'a> {
    limits: &'a Limits,
    followed: u64,
}

/// A value of the enclosing graph that a body may take.
struct Outer {
    id: ValueId,
    like: Value,
}

/// What is known of a body's input from the node that holds the body, where the file leaves it out.
#[derive(Clone)]
struct Hint {
    element: Option<ElementType>,
    shape: Option<Shape>,
}

struct Builder<'a, 'b> {
    graph: Graph,
    /// Values by the names of the file; the last scope is the innermost branch that stands in place of its `If`.
    scopes: Vec<HashMap<String, ValueId>>,
    outer: HashMap<String, Outer>,
    names: Names,
    /// For integers that were computed in floats, the floats.
    floats: HashMap<ValueId, ValueId>,
    /// Names that a node, a body or the list of outputs takes.
    taken: HashSet<String>,
    shared: &'a mut Shared<'b>,
}

impl Builder<'_, '_> {
    fn build(
        draft: Draft,
        outer: HashMap<String, Outer>,
        hints: &[Hint],
        shared: &mut Shared<'_>,
    ) -> Result<Graph, DecodeError> {
        let names = Names { reserved: draft.defined().into_iter().map(str::to_owned).collect(), next: 1 };
        let taken = draft.taken();
        let mut graph = Graph::new();
        graph.name = draft.name;
        graph.description = draft.description;
        let mut builder = Builder {
            graph,
            scopes: vec![HashMap::new()],
            outer,
            names,
            floats: HashMap::new(),
            taken,
            shared,
        };
        builder.inputs(&draft.inputs, hints)?;
        for (name, tensor) in draft.constants {
            let id = builder.graph.add_constant(name.clone(), tensor)?;
            builder.define(name, id)?;
        }
        for node in draft.nodes {
            builder.node(node, &HashMap::new())?;
        }
        let mut outputs = Vec::with_capacity(draft.outputs.len());
        for output in draft.outputs {
            outputs.push(builder.resolve(&output)?.ok_or(DecodeError::UndefinedOutput(output))?);
        }
        builder.graph.set_outputs(outputs);
        Ok(builder.graph)
    }

    fn inputs(&mut self, inputs: &[DraftInput], hints: &[Hint]) -> Result<(), DecodeError> {
        let shapes: Vec<&TensorShape> = inputs.iter().filter_map(|input| input.shape.as_ref()).collect();
        let names: BTreeSet<String> = types::size_names(shapes.into_iter());
        for (position, input) in inputs.iter().enumerate() {
            let hint = hints.get(position);
            let element =
                input.element.or(hint.and_then(|hint| hint.element)).ok_or_else(|| DecodeError::Input {
                    name: input.name.clone(),
                    problem: "no type is declared, and none follows from the node that holds it".to_owned(),
                })?;
            let shape = match &input.shape {
                Some(shape) => Some(types::sizes(&input.name, shape, &names)?),
                None => hint.and_then(|hint| hint.shape.clone()),
            };
            let id = self.graph.add_input(input.name.clone(), element, shape)?;
            self.define(input.name.clone(), id)?;
        }
        Ok(())
    }

    /// Gives a value its name in the file, and counts the sizes that are followed through it.
    fn define(&mut self, name: String, id: ValueId) -> Result<(), DecodeError> {
        let value = self.graph.value(id);
        let sizes = value.contents.as_ref().map_or(0, Vec::len) + value.shape.as_ref().map_or(0, Vec::len);
        self.shared.followed = self.shared.followed.saturating_add(count(sizes));
        check(
            "sizes that are followed symbolically",
            self.shared.followed,
            self.shared.limits.followed_sizes,
        )?;
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name, id);
        }
        Ok(())
    }

    /// The value that a name stands for; one of the enclosing graph is captured.
    fn resolve(&mut self, name: &str) -> Result<Option<ValueId>, DecodeError> {
        if let Some(id) = self.scopes.iter().rev().find_map(|scope| scope.get(name)) {
            return Ok(Some(*id));
        }
        let Some(outer) = self.outer.get(name) else {
            return Ok(None);
        };
        let inner = self.names.fresh(&self.graph, name);
        let id = self.graph.add_capture(inner, outer.id, &outer.like)?;
        if let Some(scope) = self.scopes.first_mut() {
            scope.insert(name.to_owned(), id);
        }
        Ok(Some(id))
    }

    /// Appends a node. `renamed` gives outputs of a branch that stands in place of its `If` their names.
    fn node(&mut self, mut node: DraftNode, renamed: &HashMap<String, String>) -> Result<(), DecodeError> {
        if node.operator == "Dropout" {
            // Old files name the mask though nobody takes it; its type then was another.
            for mask in node.outputs.iter_mut().skip(1).filter(|mask| !self.taken.contains(*mask)) {
                mask.clear();
            }
        }
        let display = node.display();
        let problem = |problem: String| DecodeError::Node { node: display.clone(), problem };
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for input in &node.inputs {
            inputs.push(match input.as_str() {
                "" => None,
                name => Some(self.resolve(name)?.ok_or_else(|| DecodeError::Undefined {
                    node: display.clone(),
                    input: name.to_owned(),
                })?),
            });
        }
        if node.operator == "If"
            && let Some(condition) = inputs.first().copied().flatten()
            && let Some(truth) = self.truth(condition)
        {
            return self.branch(node, truth);
        }
        let outputs: Vec<String> = node
            .outputs
            .iter()
            .map(|output| match renamed.get(output) {
                Some(name) => name.clone(),
                None if output.is_empty() || self.graph.find(output).is_none() => output.clone(),
                None => self.names.fresh(&self.graph, output),
            })
            .collect();
        let hints = self.hints(&node.operator, &inputs);
        let mut new = NewNode {
            operator: node.operator,
            name: node.name,
            inputs,
            outputs: outputs.clone(),
            attributes: std::collections::BTreeMap::new(),
            metadata: node.metadata,
        };
        for (name, attribute) in node.attributes {
            let attribute = match attribute {
                DraftAttribute::Plain(attribute) => attribute,
                DraftAttribute::Body(body) => Attribute::Graph(Box::new(self.body(body, &hints)?)),
            };
            new.attributes.insert(name, attribute);
        }
        let mut target = Target { graph: &mut self.graph, names: &mut self.names, floats: &mut self.floats };
        if let Some(expansion) = expansions::lookup(&node.domain, &new.operator) {
            let mut site = expansions::Site::new(&mut target, new);
            expansion(&mut site).and_then(|()| site.finished()).map_err(problem)?;
        } else {
            target.prefer_floats(&mut new);
            upgrade::upgrade(&mut target, &mut new, node.opset).map_err(problem)?;
            upgrade::check(&new).map_err(problem)?;
            self.graph.push(new).map_err(|error| match error {
                GraphError::Node { problem: found, .. } | GraphError::TooLarge { problem: found, .. } => {
                    problem(found)
                }
                other => DecodeError::Graph(other),
            })?;
        }
        for (name, actual) in node.outputs.into_iter().zip(outputs) {
            if !name.is_empty()
                && let Some(id) = self.graph.find(&actual)
            {
                self.define(name, id)?;
            }
        }
        Ok(())
    }

    /// Builds a body: it sees those values of this graph that it takes.
    fn body(&mut self, body: Draft, hints: &[Hint]) -> Result<Graph, DecodeError> {
        let mut outer = HashMap::new();
        for name in body.free() {
            if let Some(id) = self.resolve(&name)? {
                outer.insert(name, Outer { id, like: self.graph.value(id).clone() });
            }
        }
        Builder::build(body, outer, hints, self.shared)
    }

    /// What a loop's body is fed: iteration, condition, carried values. Carried sizes may change from turn to turn.
    fn hints(&self, operator: &str, inputs: &[Option<ValueId>]) -> Vec<Hint> {
        if operator != "Loop" {
            return Vec::new();
        }
        let mut hints = vec![
            Hint { element: Some(ElementType::I64), shape: Some(Vec::new()) },
            Hint { element: Some(ElementType::Bool), shape: Some(Vec::new()) },
        ];
        hints.extend(inputs.iter().skip(2).map(|input| Hint {
            element: input.and_then(|input| self.graph.value(input).element),
            shape: None,
        }));
        hints
    }

    /// The truth of a condition that is known.
    fn truth(&self, condition: ValueId) -> Option<bool> {
        let contents = self.graph.value(condition).contents.as_deref()?;
        match contents {
            [one] => one.value().map(|value| value != 0),
            _ => None,
        }
    }

    /// Puts a branch in place of its `If`.
    fn branch(&mut self, node: DraftNode, truth: bool) -> Result<(), DecodeError> {
        let display = node.display();
        let problem =
            |problem: &str| DecodeError::Node { node: display.clone(), problem: problem.to_owned() };
        let mut attributes = node.attributes;
        let taken = if truth { "then_branch" } else { "else_branch" };
        let Some(DraftAttribute::Body(branch)) = attributes.remove(taken) else {
            return Err(problem("a branch is missing"));
        };
        if !branch.inputs.is_empty() || branch.outputs.len() != node.outputs.len() {
            return Err(problem("a branch has inputs, or another number of outputs than the node"));
        }
        self.scopes.push(HashMap::new());
        for (name, tensor) in branch.constants {
            let unique = self.names.fresh(&self.graph, &name);
            let id = self.graph.add_constant(unique, tensor)?;
            self.define(name, id)?;
        }
        let renamed = self.branch_names(&branch.nodes, &branch.outputs, &node.outputs);
        for inner in branch.nodes {
            self.node(inner, &renamed)?;
        }
        let mut results = Vec::with_capacity(branch.outputs.len());
        for output in &branch.outputs {
            let id = self.resolve(output)?.ok_or_else(|| DecodeError::UndefinedOutput(output.clone()))?;
            results.push(id);
        }
        self.scopes.pop();
        for (name, id) in node.outputs.into_iter().zip(results) {
            if name.is_empty() {
                continue;
            }
            // What the branch did not compute itself is passed on under the name that the file gives it.
            let id = if self.graph.value(id).name == name {
                id
            } else {
                self.graph.push_one(NewNode::new("Identity", &[id], name.clone()))?
            };
            self.define(name, id)?;
        }
        Ok(())
    }

    /// Names of a branch's values in this graph: what it computes as an output takes the name of the `If`'s output.
    fn branch_names(
        &mut self,
        nodes: &[DraftNode],
        outputs: &[String],
        wanted: &[String],
    ) -> HashMap<String, String> {
        let mut renamed = HashMap::new();
        for name in nodes.iter().flat_map(|node| &node.outputs).filter(|name| !name.is_empty()) {
            let position = outputs.iter().position(|output| output == name);
            let outside = position.and_then(|position| wanted.get(position)).filter(|name| !name.is_empty());
            let actual = match outside {
                Some(outside) if self.graph.find(outside).is_none() => outside.clone(),
                _ => self.names.fresh(&self.graph, name),
            };
            self.names.reserved.insert(actual.clone());
            renamed.insert(name.clone(), actual);
        }
        renamed
    }
}

/// Names that the file uses for values that may not exist yet, and numbers for names made here.
struct Names {
    reserved: HashSet<String>,
    /// Only rises, so that names in a file cannot make the search for a free one long over and over.
    next: u64,
}

impl Names {
    /// A name that neither a value has nor the file uses.
    fn fresh(&mut self, graph: &Graph, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        while self.reserved.contains(&name) || graph.find(&name).is_some() {
            name = format!("{wanted}.{}", self.next);
            self.next += 1;
        }
        name
    }
}

/// The graph as an upgrade sees it: it may look at what is known and put nodes and constants before its node.
pub(super) struct Target<'a> {
    graph: &'a mut Graph,
    names: &'a mut Names,
    floats: &'a mut HashMap<ValueId, ValueId>,
}

impl Target<'_> {
    /// What is known of a value.
    pub(super) fn value(&self, id: ValueId) -> &Value {
        self.graph.value(id)
    }

    /// Adds a constant named after `wanted`.
    pub(super) fn constant(&mut self, wanted: &str, tensor: Tensor) -> Result<ValueId, String> {
        let name = self.names.fresh(self.graph, wanted);
        self.graph.add_constant(name, tensor).map_err(|error| error.to_string())
    }

    /// Adds a node with one output, named after `wanted`.
    pub(super) fn node(&mut self, mut new: NewNode, wanted: &str) -> Result<ValueId, String> {
        new.outputs = vec![self.names.fresh(self.graph, wanted)];
        // It may carry attributes over from the node that it stands for.
        upgrade::check(&new)?;
        self.graph.push_one(new).map_err(|error| error.to_string())
    }

    /// Adds a node whose output has a name of the file.
    pub(super) fn named(&mut self, mut new: NewNode, output: String) -> Result<ValueId, String> {
        new.outputs = vec![output];
        upgrade::check(&new)?;
        self.graph.push_one(new).map_err(|error| error.to_string())
    }

    /// Remembers that `float` holds exactly what the integers `whole` are.
    pub(super) fn same_numbers(&mut self, whole: ValueId, float: ValueId) {
        self.floats.insert(whole, float);
    }

    /// A `Cast` to floats of integers that were computed in floats takes those.
    fn prefer_floats(&self, node: &mut NewNode) {
        let code = match node.attributes.get("to") {
            Some(Attribute::Int(code)) => i32::try_from(*code).ok(),
            _ => None,
        };
        let to_float = code.and_then(ElementType::from_onnx_code).is_some_and(ElementType::is_float);
        if node.operator == "Cast"
            && to_float
            && let Some(Some(input)) = node.inputs.first_mut()
            && let Some(float) = self.floats.get(input)
        {
            *input = *float;
        }
    }

    /// The integers of a value that is known.
    pub(super) fn integers(&self, id: ValueId) -> Option<Vec<i64>> {
        self.value(id).contents.as_ref()?.iter().map(Dim::value).collect()
    }

    /// The numbers of a constant of few elements.
    pub(super) fn numbers(&self, id: ValueId) -> Option<Vec<f64>> {
        self.value(id).constant().filter(|tensor| tensor.len() <= 64).map(Tensor::to_f64)
    }
}
