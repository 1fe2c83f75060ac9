//! Which weights are one: exporters store equal weights once, and so tie layers that have nothing to do with each
//! other.

use std::collections::{BTreeMap, BTreeSet};

use pellucid_graph::{Graph, NewNode, NodeId, Tensor, ValueId};

use super::config::Sharing;
use super::copy::{Changes, Copy};
use crate::error::Result;
use crate::layer::modules;

/// A model whose weights are as many as its layers have, and what was done to it.
#[derive(Debug, Clone)]
pub struct Untied {
    /// The model. It computes what it did.
    pub graph: Graph,
    /// Weights that were given to several layers: the name, and the names of the copies.
    pub separated: Vec<(String, Vec<String>)>,
    /// Weights that several layers still share.
    pub shared: Vec<String>,
}

/// One place where a constant is read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    node: NodeId,
    input: usize,
}

/// Gives every layer its own copy of a constant that an exporter stored once for several, as `sharing` says.
///
/// That is decided by the modules that exporters note: layers of one module share what they read; layers of several
/// get a copy each where the constant is one number throughout (the ones and zeros of fresh normalisations), where it
/// is a running statistic, or where their paths differ in numbers alone and they read it in the same way (layers that
/// were copied before training). What is left, such as an embedding that is also the last layer, is one weight.
pub fn untied(model: &Graph, sharing: Sharing) -> Result<Untied> {
    let mut plan = Plan::default();
    let mut shared = Vec::new();
    for (id, uses) in uses(model) {
        let groups = groups(model, id, &uses, sharing);
        let name = model.value(id).name.clone();
        if groups.len() == 1 {
            if uses.len() > 1 {
                shared.push(name);
            }
            continue;
        }
        let mut names = Vec::new();
        for group in groups.into_iter().skip(1) {
            let copy = plan.name(model, &name, &group[0]);
            for place in group {
                plan.copies.insert(place, (id, copy.clone()));
            }
            names.push(copy);
        }
        plan.separated.push((name, names));
    }
    if plan.separated.is_empty() {
        return Ok(Untied { graph: model.clone(), separated: Vec::new(), shared });
    }
    let graph = Copy::write(model, &mut plan)?.graph;
    Ok(Untied { graph, separated: plan.separated, shared })
}

/// Where each float constant of several elements is read, for those read more than once.
fn uses(model: &Graph) -> BTreeMap<ValueId, Vec<Use>> {
    let mut uses: BTreeMap<ValueId, Vec<Use>> = BTreeMap::new();
    for id in model.node_ids() {
        for (input, value) in model.node(id).inputs.iter().enumerate() {
            let Some(value) = value else { continue };
            if model.constant(*value).is_some_and(|tensor| tensor.element().is_float() && tensor.len() > 1) {
                uses.entry(*value).or_default().push(Use { node: id, input });
            }
        }
    }
    uses.retain(|_, uses| uses.len() > 1);
    uses
}

/// Uses that stay together; the first group keeps the constant.
fn groups(model: &Graph, id: ValueId, uses: &[Use], sharing: Sharing) -> Vec<Vec<Use>> {
    let mut groups: Vec<Vec<Use>> = Vec::new();
    let uniform = model.constant(id).is_some_and(is_uniform);
    for place in uses {
        let found = groups.iter_mut().find(|group| match sharing {
            Sharing::Shared => true,
            Sharing::Separate => false,
            Sharing::ByModule => together(model, &group[0], place, uniform),
        });
        match found {
            Some(group) => group.push(place.clone()),
            None => groups.push(vec![place.clone()]),
        }
    }
    groups
}

fn together(model: &Graph, first: &Use, second: &Use, uniform: bool) -> bool {
    let (a, b) = (model.node(first.node), model.node(second.node));
    let same_way = a.operator == b.operator && first.input == second.input;
    let statistic = |node: &pellucid_graph::Node, input: usize| {
        node.operator == "BatchNormalization" && matches!(input, 3 | 4)
    };
    let path = |place: &Use| modules(model, place.node).last().map(|path| uncounted(path));
    let paths = (path(first), path(second));
    let one_module = paths.0 == paths.1 && paths.0.is_some();
    if statistic(a, first.input) || statistic(b, second.input) {
        return same_way && (one_module || first.node == second.node);
    }
    match paths {
        (Some(p), Some(q)) if p == q => same_way || !uniform,
        (Some(p), Some(q)) => !(uniform || same_way && numberless(&p) == numberless(&q)),
        _ => true,
    }
}

/// Whether all elements are one number.
fn is_uniform(tensor: &Tensor) -> bool {
    let size = tensor.element().size();
    let mut elements = tensor.bytes().chunks_exact(size);
    let first = elements.next();
    elements.all(|element| Some(element) == first)
}

/// A path without the numbers by which an exporter tells calls of one module apart: `fc_1` is `fc` again.
fn uncounted(path: &str) -> String {
    let part = |part: &str| match part.rsplit_once('_') {
        Some((stem, count)) if !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit()) => {
            stem.to_owned()
        }
        _ => part.to_owned(),
    };
    path.split('.').map(part).collect::<Vec<_>>().join(".")
}

fn numberless(path: &str) -> String {
    path.chars().filter(|c| !c.is_ascii_digit()).collect()
}

#[derive(Default)]
struct Plan {
    copies: BTreeMap<Use, (ValueId, String)>,
    names: BTreeSet<String>,
    made: BTreeMap<String, ValueId>,
    separated: Vec<(String, Vec<String>)>,
}

impl Plan {
    /// A name for the copy that `place` reads: that of the module, and what the weight is called in it.
    fn name(&mut self, model: &Graph, name: &str, place: &Use) -> String {
        let last = name.rsplit(['.', '/']).next().unwrap_or(name);
        let wanted = match modules(model, place.node).last() {
            Some(path) => format!("{path}.{last}"),
            None => name.to_owned(),
        };
        let mut free = model.fresh_name(&wanted);
        let mut number = 2;
        while !self.names.insert(free.clone()) {
            free = model.fresh_name(&format!("{wanted}.{number}"));
            number += 1;
        }
        free
    }
}

impl Changes for Plan {
    fn node(&mut self, copy: &mut Copy<'_>, id: NodeId, mut new: NewNode) -> Result<()> {
        for (input, value) in new.inputs.iter_mut().enumerate() {
            let Some((constant, name)) = self.copies.get(&Use { node: id, input }) else { continue };
            let made = match self.made.get(name) {
                Some(made) => *made,
                None => match copy.of_source(*constant).constant() {
                    Some(tensor) => copy.graph.add_constant(name.clone(), tensor.clone())?,
                    None => continue,
                },
            };
            self.made.insert(name.clone(), made);
            *value = Some(made);
        }
        copy.push(id, new)
    }
}
