//! From messages to a [`Draft`]: functions of the model's own are expanded where they are called, their names made
//! unique, references to their attributes resolved, and operators that nothing defines are listed.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::attribute;
use super::draft::{Draft, DraftAttribute, DraftInput, DraftNode};
use super::error::{DecodeError, NodeName};
use super::expansions;
use super::limits::Limits;
use super::proto;
use super::scan::{check, count};
use super::sequence;
use super::tensor;
use super::types;
use super::upgrade;
use crate::node::Attribute;
use crate::operators;

/// Oldest opset that is read.
const OLDEST: i64 = 7;
/// Newest opset that is read.
const NEWEST: i64 = 24;

/// Domain, name and overload of a function.
type Key = (String, String, String);

/// Draft of the model's graph, everything in it known and expanded.
pub(super) fn expand(model: &proto::Model, limits: &Limits) -> Result<Draft, DecodeError> {
    let Some(graph) = &model.graph else {
        return Err(DecodeError::NotOnnx("it holds no graph".to_owned()));
    };
    let opset = opset(&model.opset_import)?
        .ok_or_else(|| DecodeError::NotOnnx("it declares no opset of ai.onnx".to_owned()))?;
    let mut functions = BTreeMap::new();
    for function in &model.functions {
        let key = (domain(&function.domain), function.name.clone(), function.overload.clone());
        if key.0.is_empty() && operators::lookup(&key.1).is_some() {
            let problem = "it redefines an operator of ai.onnx".to_owned();
            return Err(DecodeError::Function { name: function.name.clone(), problem });
        }
        if functions.insert(key, function).is_some() {
            let problem = "it is defined twice".to_owned();
            return Err(DecodeError::Function { name: function.name.clone(), problem });
        }
    }
    let mut expander = Expander {
        functions,
        limits,
        used: HashSet::new(),
        next: 1,
        unknown: Vec::new(),
        nodes: 0,
        memory: 0,
        calls: Vec::new(),
    };
    reserve(graph, &mut expander.used);
    let context = Context { opset, scope: None, bindings: None, prefix: "", metadata: None };
    let mut draft = expander.graph(graph, &context, true)?;
    sequence::rewrite(&mut draft, &mut expander.used, &mut expander.unknown);
    if expander.unknown.is_empty() { Ok(draft) } else { Err(DecodeError::Unknown(expander.unknown)) }
}

/// The opset of `ai.onnx` among `imports`, where it is one that is read.
fn opset(imports: &[proto::OperatorSetId]) -> Result<Option<i64>, DecodeError> {
    let Some(import) = imports.iter().find(|import| domain(&import.domain).is_empty()) else {
        return Ok(None);
    };
    let found = import.version.unwrap_or(1);
    if (OLDEST..=NEWEST).contains(&found) {
        Ok(Some(found))
    } else {
        Err(DecodeError::Opset { found, oldest: OLDEST, newest: NEWEST })
    }
}

/// A domain under its canonical name.
fn domain(name: &str) -> String {
    if name == "ai.onnx" { String::new() } else { name.to_owned() }
}

/// Every name that the graph or a body in it uses, so that names made here differ from all.
fn reserve(graph: &proto::Graph, used: &mut HashSet<String>) {
    used.extend(graph.input.iter().chain(&graph.output).map(|value| value.name.clone()));
    used.extend(graph.initializer.iter().map(|tensor| tensor.name.clone()));
    for node in &graph.node {
        used.extend(node.input.iter().chain(&node.output).cloned());
        for attribute in &node.attribute {
            if let Some(body) = &attribute.g {
                reserve(body, used);
            }
        }
    }
}

/// Inside a function: what its names are called in the expanded graph.
struct Scope<'a> {
    names: HashMap<String, String>,
    parent: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    fn find(&self, name: &str) -> Option<&str> {
        match self.names.get(name) {
            Some(found) => Some(found),
            None => self.parent.and_then(|parent| parent.find(name)),
        }
    }
}

/// Where a node stands.
#[derive(Clone, Copy)]
struct Context<'a> {
    opset: i64,
    /// `None` outside functions, where names stay.
    scope: Option<&'a Scope<'a>>,
    /// Inside a function: the call's attributes.
    bindings: Option<&'a BTreeMap<String, DraftAttribute>>,
    /// Inside a function: put before its names.
    prefix: &'a str,
    /// Inside a function: the call's notes.
    metadata: Option<&'a BTreeMap<String, String>>,
}

struct Expander<'a> {
    functions: BTreeMap<Key, &'a proto::Function>,
    limits: &'a Limits,
    used: HashSet<String>,
    /// Number for the next name made here that would not be new without one.
    next: u64,
    unknown: Vec<NodeName>,
    nodes: u64,
    memory: u64,
    /// Functions being expanded, the outermost first.
    calls: Vec<Key>,
}

impl Expander<'_> {
    fn take(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.memory = self.memory.saturating_add(count(bytes));
        check("bytes of expanded structure", self.memory, self.limits.memory_bytes)
    }

    fn fresh(&mut self, context: &Context<'_>, name: &str) -> Result<String, DecodeError> {
        let wanted = format!("{}/{name}", context.prefix);
        let mut fresh = wanted.clone();
        while self.used.contains(&fresh) {
            fresh = format!("{wanted}.{}", self.next);
            self.next += 1;
        }
        self.take(fresh.len().saturating_mul(2).saturating_add(96))?;
        self.used.insert(fresh.clone());
        Ok(fresh)
    }

    fn graph(
        &mut self,
        graph: &proto::Graph,
        context: &Context<'_>,
        main: bool,
    ) -> Result<Draft, DecodeError> {
        if let Some(sparse) = graph.sparse_initializer.first() {
            let name = sparse.values.as_ref().map_or_else(String::new, |values| values.name.clone());
            return Err(DecodeError::Tensor { name, problem: "sparse tensors are not supported".to_owned() });
        }
        let mut scope = Scope { names: HashMap::new(), parent: context.scope };
        if context.scope.is_some() {
            let inputs = graph.input.iter().map(|input| &input.name);
            let constants = graph.initializer.iter().map(|tensor| &tensor.name);
            let outputs = graph.node.iter().flat_map(|node| &node.output);
            for name in inputs.chain(constants).chain(outputs).filter(|name| !name.is_empty()) {
                let fresh = self.fresh(context, name)?;
                scope.names.insert(name.clone(), fresh);
            }
        }
        let inner = Context { scope: context.scope.map(|_| &scope), ..*context };
        let mut draft =
            Draft { name: graph.name.clone(), description: graph.doc_string.clone(), ..Draft::default() };
        for constant in &graph.initializer {
            draft.constants.push((local(&inner, &constant.name), tensor::decode(constant, self.limits)?));
        }
        let constants: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        for input in &graph.input {
            // Before IR 4 every initialiser was listed as an input: a default value is taken as a constant.
            if constants.contains(input.name.as_str()) {
                continue;
            }
            let (element, shape) = types::declared(input, main)?;
            draft.inputs.push(DraftInput { name: local(&inner, &input.name), element, shape });
        }
        drop(constants);
        for node in &graph.node {
            self.node(node, &inner, &mut draft)?;
        }
        draft.outputs = graph.output.iter().map(|output| local(&inner, &output.name)).collect();
        Ok(draft)
    }

    fn node(
        &mut self,
        node: &proto::Node,
        context: &Context<'_>,
        draft: &mut Draft,
    ) -> Result<(), DecodeError> {
        self.nodes = self.nodes.saturating_add(1);
        check("nodes after functions are expanded", self.nodes, self.limits.nodes)?;
        let domain = domain(&node.domain);
        let mut name = node.name.clone();
        if !context.prefix.is_empty() && !name.is_empty() {
            name = format!("{}/{name}", context.prefix);
        }
        let mut display = NodeName {
            operator: node.op_type.clone(),
            name: name.clone(),
            output: node.output.iter().find(|output| !output.is_empty()).cloned().unwrap_or_default(),
        };
        let key = (domain, node.op_type.clone(), node.overload.clone());
        let function = self.functions.get(&key).copied();
        let alias = expansions::alias(&key.0, &node.op_type);
        let known = alias.is_some()
            || expansions::lookup(&key.0, &node.op_type).is_some()
            || key.0.is_empty()
                && (upgrade::known(&node.op_type, context.opset) || sequence::concerns(&node.op_type));
        if function.is_none() && !known {
            if !key.0.is_empty() {
                display.operator = format!("{}::{}", key.0, node.op_type);
            }
            self.unknown.push(display);
            return Ok(());
        }
        let mut written = DraftNode {
            domain: if alias.is_some() { String::new() } else { key.0.clone() },
            operator: node.op_type.clone(),
            name,
            opset: alias.unwrap_or(context.opset),
            inputs: Vec::with_capacity(node.input.len()),
            outputs: Vec::with_capacity(node.output.len()),
            attributes: BTreeMap::new(),
            metadata: metadata(node, context),
        };
        self.take(cost(&written).saturating_add(48 * node.input.len() + 48 * node.output.len()))?;
        for input in &node.input {
            written.inputs.push(taken(context, input, &display)?);
        }
        written.outputs = node.output.iter().map(|output| local(context, output)).collect();
        for attribute in &node.attribute {
            let Some(value) = self.attribute(attribute, context, &display)? else {
                continue;
            };
            if written.attributes.insert(attribute.name.clone(), value).is_some() {
                let problem = format!("attribute {:?} is given twice", attribute.name);
                return Err(DecodeError::Node { node: display, problem });
            }
        }
        match function {
            Some(function) => self.call(key, function, written, context, draft),
            None if written.operator == "Constant" => {
                let tensor = attribute::constant(&written.attributes)
                    .map_err(|problem| DecodeError::Node { node: display, problem })?;
                let output = written.outputs.into_iter().next().unwrap_or_default();
                if !output.is_empty() {
                    draft.constants.push((output, tensor));
                }
                Ok(())
            }
            None => {
                draft.nodes.push(written);
                Ok(())
            }
        }
    }

    fn attribute(
        &mut self,
        attribute: &proto::Attribute,
        context: &Context<'_>,
        node: &NodeName,
    ) -> Result<Option<DraftAttribute>, DecodeError> {
        let problem = |problem: String| DecodeError::Node { node: node.clone(), problem };
        if !attribute.ref_attr_name.is_empty() {
            let Some(bindings) = context.bindings else {
                return Err(problem(format!(
                    "attribute {:?} refers to an attribute of a function, but stands in none",
                    attribute.name
                )));
            };
            let bound = bindings.get(&attribute.ref_attr_name).cloned();
            if let Some(bound) = &bound {
                self.take(weight(bound))?;
                self.nodes = self.nodes.saturating_add(nodes_in(bound));
                check("nodes after functions are expanded", self.nodes, self.limits.nodes)?;
            }
            return Ok(bound);
        }
        if let Some(body) = attribute::body(attribute).map_err(problem)? {
            return Ok(Some(DraftAttribute::Body(self.graph(body, context, false)?)));
        }
        let value = attribute::plain(attribute, self.limits).map_err(|error| match error {
            attribute::Error::Problem(problem) => DecodeError::Node { node: node.clone(), problem },
            attribute::Error::Tensor(error) => error,
        })?;
        let value = DraftAttribute::Plain(value);
        self.take(weight(&value))?;
        Ok(Some(value))
    }

    /// Expands a call.
    fn call(
        &mut self,
        key: Key,
        function: &proto::Function,
        mut call: DraftNode,
        context: &Context<'_>,
        draft: &mut Draft,
    ) -> Result<(), DecodeError> {
        let problem = |problem: String| DecodeError::Function {
            name: if key.0.is_empty() { key.1.clone() } else { format!("{}::{}", key.0, key.1) },
            problem,
        };
        if self.calls.contains(&key) {
            return Err(problem("it calls itself".to_owned()));
        }
        check("levels of functions that call functions", count(self.calls.len()), self.limits.call_depth)?;
        if call.inputs.len() > function.input.len() || call.outputs.len() > function.output.len() {
            return Err(problem(format!(
                "it has {} inputs and {} outputs, but {} is given {} and {}",
                function.input.len(),
                function.output.len(),
                call.display(),
                call.inputs.len(),
                call.outputs.len()
            )));
        }
        let opset = opset(&function.opset_import)?.unwrap_or(context.opset);
        let prefix = if call.name.is_empty() { call.display().output } else { call.name.clone() };
        let display = call.display();
        self.calls.push(key);
        // Defaults stand in the function; the call's own values win.
        for default in &function.attribute_proto {
            if !call.attributes.contains_key(&default.name)
                && let Some(value) = self.attribute(default, context, &display)?
            {
                call.attributes.insert(default.name.clone(), value);
            }
        }
        let inner =
            Context { opset, scope: None, bindings: None, prefix: &prefix, metadata: Some(&call.metadata) };
        let (scope, passed) = self.scope(function, &call, &inner)?;
        let inner = Context { scope: Some(&scope), bindings: Some(&call.attributes), ..inner };
        for node in &function.node {
            self.node(node, &inner, draft)?;
        }
        for (formal, actual) in passed {
            let source = taken(&inner, &formal, &display)?;
            draft.nodes.push(DraftNode {
                domain: String::new(),
                operator: "Identity".to_owned(),
                name: String::new(),
                opset,
                inputs: vec![source],
                outputs: vec![actual],
                attributes: BTreeMap::new(),
                metadata: call.metadata.clone(),
            });
        }
        self.calls.pop();
        Ok(())
    }

    /// Names inside a call, and the outputs that are passed on as (name inside, name outside): inputs handed back, or
    /// a value that is an output twice.
    fn scope(
        &mut self,
        function: &proto::Function,
        call: &DraftNode,
        inner: &Context<'_>,
    ) -> Result<(Scope<'static>, Vec<(String, String)>), DecodeError> {
        let mut names: HashMap<String, String> = HashMap::new();
        for (position, formal) in function.input.iter().enumerate() {
            names.insert(formal.clone(), call.inputs.get(position).cloned().unwrap_or_default());
        }
        let produced: HashSet<&str> =
            function.node.iter().flat_map(|node| &node.output).map(String::as_str).collect();
        let mut passed = Vec::new();
        for (formal, actual) in function.output.iter().zip(&call.outputs) {
            if actual.is_empty() {
                continue;
            }
            if produced.contains(formal.as_str()) && !names.contains_key(formal) {
                names.insert(formal.clone(), actual.clone());
            } else {
                passed.push((formal.clone(), actual.clone()));
            }
        }
        for name in function.node.iter().flat_map(|node| &node.output) {
            if !name.is_empty() && !names.contains_key(name) {
                let fresh = self.fresh(inner, name)?;
                names.insert(name.clone(), fresh);
            }
        }
        self.take(names.len().saturating_mul(96))?;
        Ok((Scope { names, parent: None }, passed))
    }
}

/// What an input is called. Inside a function, only what the function defines can be taken.
fn taken(context: &Context<'_>, name: &str, node: &NodeName) -> Result<String, DecodeError> {
    match context.scope {
        Some(scope) if !name.is_empty() => match scope.find(name) {
            Some(found) => Ok(found.to_owned()),
            None => Err(DecodeError::Undefined { node: node.clone(), input: name.to_owned() }),
        },
        _ => Ok(name.to_owned()),
    }
}

/// What a name defined here is called.
fn local(context: &Context<'_>, name: &str) -> String {
    match context.scope {
        Some(scope) if !name.is_empty() => scope.find(name).unwrap_or(name).to_owned(),
        _ => name.to_owned(),
    }
}

/// A node's notes; inside a function, those of the call come first.
fn metadata(node: &proto::Node, context: &Context<'_>) -> BTreeMap<String, String> {
    let mut notes = context.metadata.cloned().unwrap_or_default();
    notes.extend(node.metadata_props.iter().map(|entry| (entry.key.clone(), entry.value.clone())));
    notes
}

/// Bytes that a node takes, about.
fn cost(node: &DraftNode) -> usize {
    let notes: usize = node.metadata.iter().map(|(key, value)| key.len() + value.len() + 64).sum();
    size_of::<DraftNode>() + node.operator.len() + 2 * node.name.len() + notes
}

/// Bytes that an attribute takes, about.
fn weight(attribute: &DraftAttribute) -> usize {
    let held = match attribute {
        DraftAttribute::Plain(Attribute::String(text)) => text.len(),
        DraftAttribute::Plain(Attribute::Ints(values)) => 8 * values.len(),
        DraftAttribute::Plain(Attribute::Floats(values)) => 4 * values.len(),
        DraftAttribute::Plain(Attribute::Strings(texts)) => texts.iter().map(|text| text.len() + 24).sum(),
        DraftAttribute::Plain(_) => 0,
        DraftAttribute::Body(body) => body
            .nodes
            .iter()
            .map(|node| {
                let names: usize = node.inputs.iter().chain(&node.outputs).map(|name| name.len() + 24).sum();
                cost(node) + names + node.attributes.values().map(weight).sum::<usize>()
            })
            .sum(),
    };
    held.saturating_add(size_of::<DraftAttribute>() + 48)
}

/// Nodes in an attribute's body and the bodies in it.
fn nodes_in(attribute: &DraftAttribute) -> u64 {
    match attribute {
        DraftAttribute::Plain(_) => 0,
        DraftAttribute::Body(body) => {
            let inner: u64 = body.nodes.iter().flat_map(|node| node.attributes.values()).map(nodes_in).sum();
            inner.saturating_add(count(body.nodes.len()))
        }
    }
}
