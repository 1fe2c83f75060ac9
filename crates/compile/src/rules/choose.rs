//! Choosing a rule for each node: by kind, layer, place and name. Not a rule.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use pellucid_graph::{Graph, NodeId, ValueId};

use super::{Gradient, Rule};
use crate::kind::{Form, Kind, Role};
use crate::layer;
use crate::ops;

/// A node to choose a rule for.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The graph.
    pub graph: &'a Graph,
    /// The node.
    pub node: NodeId,
    /// What it is to a rule.
    pub kind: Kind,
    /// Layers (convolutions and fully connected ones) on the longest way from an input of the model to it, its own not
    /// counted.
    pub depth: usize,
    /// Whether something is added to what it sums: a bias of its own, or a constant that the node behind it adds.
    pub biased: bool,
}

impl Site<'_> {
    /// Whether it is a convolution or a fully connected layer.
    pub fn is_layer(&self) -> bool {
        matches!(self.kind, Kind::Linear(Form::Convolution | Form::Dense))
    }

    /// Whether it adds numbers of which some are constants.
    pub fn adds_constant(&self) -> bool {
        let adds = matches!(self.kind, Kind::Linear(Form::Sum | Form::Difference));
        adds && self.signals() < self.graph.node(self.node).inputs.iter().flatten().count()
    }

    /// Whether what it picks may be a constant number.
    pub fn picks_constant(&self) -> bool {
        let node = self.graph.node(self.node);
        let float = |id: &ValueId| {
            let value = self.graph.value(*id);
            value.fixed && value.element.is_some_and(pellucid_graph::ElementType::is_float)
        };
        self.kind == Kind::Select && node.inputs.iter().flatten().any(float)
    }

    /// Whether its first result has the shape of its first input.
    pub fn keeps_shape(&self) -> bool {
        let node = self.graph.node(self.node);
        let shape = |id: Option<ValueId>| id.and_then(|id| self.graph.value(id).shape.clone());
        shape(node.input(0)).is_some_and(|before| shape(node.output(0)) == Some(before))
    }

    /// Whether one float goes in and one of the same place comes out.
    pub fn is_pointwise(&self) -> bool {
        let node = self.graph.node(self.node);
        let output = node.output(0).and_then(|id| self.graph.value(id).element);
        node.inputs.len() == 1
            && output.is_some_and(pellucid_graph::ElementType::is_float)
            && self.keeps_shape()
    }

    /// How many of its inputs depend on the model's input.
    pub fn signals(&self) -> usize {
        let inputs = self.graph.node(self.node).inputs.iter().flatten();
        inputs.filter(|id| !self.graph.value(**id).fixed).count()
    }
}

/// When a choice applies to a node.
#[derive(Debug, Clone, PartialEq)]
pub enum When {
    /// Always.
    Always,
    /// The node is of this kind.
    Kind(Kind),
    /// The node is elementwise, whatever its role.
    Elementwise,
    /// The node is linear, whatever its form.
    Linear,
    /// The node is a convolution or a fully connected layer.
    Layer,
    /// No layer lies between the model's input and the node.
    First,
    /// So many layers lie between the model's input and the node, its own not counted.
    Depth(RangeInclusive<usize>),
    /// Exactly one input depends on the model's input.
    OneSignal,
    /// A value that the node makes, the node, or a module it belongs to has a name of this pattern, in which `*` stands
    /// for any characters and `?` for one.
    Named(String),
    /// All of these.
    All(Vec<When>),
}

impl When {
    /// Whether the choice applies.
    pub fn holds(&self, site: &Site<'_>) -> bool {
        match self {
            Self::Always => true,
            Self::Kind(kind) => site.kind == *kind,
            Self::Elementwise => matches!(site.kind, Kind::Elementwise(_)),
            Self::Linear => matches!(site.kind, Kind::Linear(_)),
            Self::Layer => site.is_layer(),
            Self::First => site.depth == 0,
            Self::Depth(range) => range.contains(&site.depth),
            Self::OneSignal => site.signals() == 1,
            Self::Named(pattern) => named(site, pattern),
            Self::All(all) => all.iter().all(|when| when.holds(site)),
        }
    }
}

fn named(site: &Site<'_>, pattern: &str) -> bool {
    let node = site.graph.node(site.node);
    let values = node.outputs.iter().flatten().map(|id| site.graph.value(*id).name.as_str());
    let modules = layer::modules(site.graph, site.node);
    let names = values.chain([node.name.as_str()]).chain(modules.iter().map(String::as_str));
    names.into_iter().any(|name| matches(pattern, name))
}

/// Whether `name` is of the pattern, in which `*` stands for any characters and `?` for one.
///
/// Looks at each pair of positions at most once a star: pattern · name steps.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut seen) = (0, 0);
    let mut star = None;
    while seen < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || *wanted == name[seen] => {
                at += 1;
                seen += 1;
            }
            // The last star takes one character more.
            _ => match star {
                Some((position, taken)) => {
                    star = Some((position, taken + 1));
                    at = position + 1;
                    seen = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

/// A rule, and when it applies.
#[derive(Debug, Clone)]
pub struct Choice {
    /// When.
    pub when: When,
    /// The rule.
    pub rule: Arc<dyn Rule>,
}

impl PartialEq for Choice {
    /// Rules are the same where they say the same of themselves, parameters included.
    fn eq(&self, other: &Self) -> bool {
        self.when == other.when && self.rule.describe() == other.rule.describe()
    }
}

impl Eq for Choice {}

/// Which rule meets which node: the first choice that applies, else the derivative.
#[derive(Debug, Clone, Default)]
pub struct RuleMap {
    choices: Vec<Choice>,
    joins_biases: bool,
}

impl RuleMap {
    /// The derivative everywhere.
    pub const GRADIENT: Self = Self { choices: Vec::new(), joins_biases: false };

    /// `rule` at rectifiers, the derivative elsewhere.
    #[must_use]
    pub fn at_rectifiers(rule: impl Rule + 'static) -> Self {
        // Elsewhere the derivative is the method's own choice.
        Self::GRADIENT.with(When::Kind(Kind::Elementwise(Role::Rectifier)), rule).with(When::Always, Gradient)
    }

    /// The same with a choice behind those that are there.
    #[must_use]
    pub fn with(mut self, when: When, rule: impl Rule + 'static) -> Self {
        self.choices.push(Choice { when, rule: Arc::new(rule) });
        self
    }

    /// The choices, the first that applies counting.
    pub fn choices(&self) -> &[Choice] {
        &self.choices
    }

    /// The same with choices before those that are there.
    #[must_use]
    pub fn before(mut self, choices: Vec<Choice>) -> Self {
        self.choices.splice(0..0, choices);
        self
    }

    /// The same, where a constant that is added to a convolution or fully connected layer by the node behind it counts
    /// as the layer's own bias: a signal passes that node unchanged, and the layer's rule sees both.
    #[must_use]
    pub fn joining_biases(mut self) -> Self {
        self.joins_biases = true;
        self
    }

    /// Whether it is the derivative everywhere.
    pub fn is_derivative(&self) -> bool {
        self.choices.iter().all(|choice| choice.rule.name() == Gradient.name())
    }

    /// Whether some rule asks for values on a baseline.
    pub fn compares(&self) -> bool {
        self.choices.iter().any(|choice| choice.rule.compares())
    }

    /// Whether every difference from a baseline is carried whole, whatever the node.
    pub fn is_additive(&self) -> bool {
        self.choices.first().is_some_and(|choice| choice.when == When::Always && choice.rule.compares())
    }

    /// The rule for a node.
    pub fn rule(&self, site: &Site<'_>) -> Planned {
        match self.choices.iter().find(|choice| choice.when.holds(site)) {
            Some(choice) => {
                let (breaks, refused) = (choice.rule.breaks(site), choice.rule.refuses(site));
                Planned { rule: choice.rule.clone(), fallback: false, breaks, refused }
            }
            None => Planned {
                rule: Arc::new(Gradient),
                fallback: !self.choices.is_empty(),
                breaks: Gradient.breaks(site),
                refused: None,
            },
        }
    }

    /// The rules for `nodes` of a graph.
    pub fn plan(&self, graph: &Graph, nodes: &[NodeId]) -> Plan {
        let depths = depths(graph, nodes);
        let added = if self.joins_biases { added_biases(graph, nodes) } else { BTreeMap::new() };
        let joined: BTreeSet<NodeId> = added.values().copied().collect();
        let mut rules = BTreeMap::new();
        for id in nodes {
            let Some(kind) = ops::kind_of(graph, *id) else { continue };
            let biased = ops::bias_of(graph, *id).is_some() || added.contains_key(id);
            let depth = depths.get(id).copied().unwrap_or_default();
            let site = Site { graph, node: *id, kind, depth, biased };
            let planned = if joined.contains(id) {
                Planned { rule: Arc::new(Gradient), fallback: false, breaks: None, refused: None }
            } else {
                self.rule(&site)
            };
            rules.insert(*id, planned);
        }
        Plan { rules, depths, added }
    }
}

/// A rule for a node.
#[derive(Debug, Clone)]
pub struct Planned {
    /// The rule.
    pub rule: Arc<dyn Rule>,
    /// Whether no choice applied: the derivative stands in.
    pub fallback: bool,
    /// Why relevance may be lost or made at the node.
    pub breaks: Option<&'static str>,
    /// Why the rule does not pass the node.
    pub refused: Option<String>,
}

/// The rules for the nodes of a graph.
#[derive(Debug)]
pub struct Plan {
    rules: BTreeMap<NodeId, Planned>,
    depths: BTreeMap<NodeId, usize>,
    /// Layers, and the nodes that add their bias.
    added: BTreeMap<NodeId, NodeId>,
}

impl Plan {
    /// The rule for a node.
    pub fn rule(&self, node: NodeId) -> Planned {
        self.rules.get(&node).cloned().unwrap_or_else(|| Planned {
            rule: Arc::new(Gradient),
            fallback: true,
            breaks: None,
            refused: None,
        })
    }

    /// Layers between the model's input and a node.
    pub fn depth(&self, node: NodeId) -> usize {
        self.depths.get(&node).copied().unwrap_or_default()
    }

    /// The node that adds a layer's bias.
    pub fn adds_to(&self, layer: NodeId) -> Option<NodeId> {
        self.added.get(&layer).copied()
    }

    /// Whether a node adds a bias to the layer before it.
    pub fn is_bias(&self, node: NodeId) -> bool {
        self.added.values().any(|added| *added == node)
    }
}

/// Layers on the longest way from an input of the model to each node of `nodes`, which are in execution order. They may
/// begin behind a layer that is looked at: the nodes before it count too.
fn depths(graph: &Graph, nodes: &[NodeId]) -> BTreeMap<NodeId, usize> {
    let mut behind: BTreeMap<ValueId, usize> = BTreeMap::new();
    let mut depths = BTreeMap::new();
    let Some(last) = nodes.last() else { return depths };
    for id in graph.node_ids().take_while(|id| id <= last) {
        let before = graph.dependencies(id);
        let depth = before.iter().filter_map(|input| behind.get(input)).max().copied().unwrap_or(0);
        depths.insert(id, depth);
        let layer = matches!(ops::kind_of(graph, id), Some(Kind::Linear(Form::Convolution | Form::Dense)));
        for output in graph.node(id).outputs.iter().flatten().filter(|output| !graph.value(**output).fixed) {
            behind.insert(*output, depth + usize::from(layer));
        }
    }
    depths
}

/// Layers without a bias of their own, and the nodes behind them that add a constant and are all that takes them.
fn added_biases(graph: &Graph, nodes: &[NodeId]) -> BTreeMap<NodeId, NodeId> {
    let on_the_way: BTreeSet<NodeId> = nodes.iter().copied().collect();
    let mut takers: BTreeMap<ValueId, usize> = BTreeMap::new();
    for id in nodes {
        for input in graph.dependencies(*id) {
            *takers.entry(input).or_default() += 1;
        }
    }
    let mut found = BTreeMap::new();
    for id in nodes {
        let inputs = &graph.node(*id).inputs;
        let [Some(a), Some(b)] = inputs[..] else { continue };
        let layer = match (graph.value(a).fixed, graph.value(b).fixed) {
            (false, true) => a,
            (true, false) => b,
            _ => continue,
        };
        let Some(producer) = graph.producer_of(layer).filter(|node| on_the_way.contains(node)) else {
            continue;
        };
        let is_layer =
            matches!(ops::kind_of(graph, producer), Some(Kind::Linear(Form::Convolution | Form::Dense)));
        let has_own = ops::bias_of(graph, producer).is_some();
        let alone = takers.get(&layer) == Some(&1) && !graph.outputs().contains(&layer);
        let adds = ops::kind_of(graph, *id) == Some(Kind::Linear(Form::Sum));
        // What is copied to more positions is no bias of the layer.
        let output = graph.node(*id).output(0);
        let same = output.is_some_and(|output| graph.value(output).shape == graph.value(layer).shape);
        if is_layer && !has_own && alone && adds && same {
            found.insert(producer, *id);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, wanted) in [
            ("layer1.*", "layer1.0.conv1", true),
            ("layer1.*", "layer2.0.conv1", false),
            ("*conv?", "layer1.0.conv1", true),
            ("*conv?", "layer1.0.conv", false),
            ("*a*b*", "xxaxbxb", true),
            ("*a*b", "xxaxbxc", false),
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern, name), wanted, "{pattern} {name}");
        }
    }
}
