//! `pellucid coverage`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use pellucid::{Error, Loss, Model, Options, Silent, losses};

use super::explain::chosen;
use super::targets;
use crate::arguments::Coverage;
use crate::console::print;

/// Nodes that are listed with what they lose.
const LISTED: usize = 20;

pub(crate) fn run(arguments: &Coverage) -> Result<ExitCode, Error> {
    let model = Model::open(&arguments.model)?;
    let options = Options { score: arguments.score.clone(), ..chosen(&arguments.choosing) };
    let coverage = pellucid::coverage(&model, &options)?;
    let found = if arguments.inputs.is_empty() {
        Vec::new()
    } else {
        let targets = arguments.target.as_ref().map_or_else(Vec::new, |text| targets(&model, text));
        let inputs = model.read(&arguments.inputs)?;
        losses(&model, &inputs, &Options { targets, ..options }, &Silent)?
    };
    let offences = coverage.offences().count();
    let loose = coverage.fallbacks().count() + coverage.breaks().count();
    let refused = offences > 0 || (arguments.strict && loose > 0);
    let code = if refused { ExitCode::from(2) } else { ExitCode::SUCCESS };
    if arguments.json {
        let nodes: Vec<serde_json::Value> = coverage
            .nodes
            .iter()
            .map(|met| {
                serde_json::json!({
                    "node": met.node.index(),
                    "operator": met.operator,
                    "output": met.output,
                    "kind": met.kind.map(|kind| kind.to_string()),
                    "rule": met.rule,
                    "parameters": met.parameters,
                    "fallback": met.fallback,
                    "breaks": met.breaks,
                    "convention": met.convention,
                    "problem": met.problem,
                })
            })
            .collect();
        print(&format!(
            "{:#}",
            serde_json::json!({
                "model": model.name(),
                "method": arguments.choosing.method,
                "layer": coverage.layer,
                "neuron": arguments.choosing.neuron,
                "covered": coverage.share(),
                "total_nodes": coverage.total,
                "fallbacks": coverage.fallbacks().count(),
                "breaks": coverage.relevance.then(|| coverage.breaks().count()),
                "folded": coverage.folded,
                "nodes": nodes,
                "losses": found.iter().map(loss).collect::<Vec<_>>(),
            })
        ));
        return Ok(code);
    }
    print(&format!(
        "{}: {} of the {} nodes on the way carry the signal of {} ({:.0} %); the model has {} nodes",
        model.name(),
        coverage.nodes.len() - offences,
        coverage.nodes.len(),
        arguments.choosing.method,
        100.0 * coverage.share(),
        coverage.total,
    ));
    if let Some(layer) = &coverage.layer {
        print(&format!("layer {layer:?}"));
    }
    if arguments.nodes {
        for met in &coverage.nodes {
            let kind = met.kind.map_or_else(String::new, |kind| kind.to_string());
            let rule = met.rule.unwrap_or("—");
            print(&format!(
                "  {:>5}  {:<22} {kind:<12} {rule:<16} {}",
                met.node.index(),
                met.operator,
                met.output
            ));
        }
    } else {
        summary(&coverage);
    }
    if coverage.relevance {
        relevance(&coverage, &found);
    }
    for met in coverage.offences() {
        let problem = met.problem.as_deref().unwrap_or_default();
        print(&format!("  not covered: {} {:?}: {problem}", met.operator, met.output));
    }
    Ok(code)
}

fn summary(coverage: &pellucid::Coverage) {
    let mut counts: BTreeMap<(&str, String, &str, &str), usize> = BTreeMap::new();
    for met in coverage.nodes.iter().filter(|met| met.problem.is_none()) {
        let kind = met.kind.map_or_else(String::new, |kind| kind.to_string());
        *counts.entry((&met.operator, kind, met.rule.unwrap_or_default(), met.convention)).or_default() += 1;
    }
    print(&format!("  {:>5}  {:<22} {:<12} {:<16} at kinks and ties", "nodes", "operator", "kind", "rule"));
    for ((operator, kind, rule, convention), count) in counts {
        print(&format!("  {count:>5}  {operator:<22} {kind:<12} {rule:<16} {convention}"));
    }
}

fn loss(loss: &Loss) -> serde_json::Value {
    serde_json::json!({
        "node": loss.node,
        "output": loss.output,
        "arrived": loss.arrived,
        "left": loss.left,
        "lost": loss.lost(),
    })
}

/// Where relevance may be lost or made; and, where inputs were given, how much is, largest first.
fn relevance(coverage: &pellucid::Coverage, found: &[Loss]) {
    if coverage.folded > 0 {
        print(&format!("  {} batch normalisations were folded into the layers beside them", coverage.folded));
    }
    let fallbacks = coverage.fallbacks().count();
    if fallbacks > 0 {
        print(&format!("  {fallbacks} nodes have no rule: the derivative stands in"));
    }
    let mut reasons: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for met in coverage.breaks() {
        *reasons.entry((met.breaks.unwrap_or_default(), met.rule.unwrap_or_default())).or_default() += 1;
    }
    if reasons.is_empty() {
        print("  what arrives at a node is what leaves it: relevance is conserved, but for stabilisers");
    }
    for ((reason, rule), count) in reasons {
        let nodes = if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") };
        print(&format!("  relevance may be lost or made at {nodes} of {rule}: {reason}"));
    }
    let Some(first) = found.first() else { return };
    let total: f64 = found.iter().map(Loss::lost).sum();
    let share = 100.0 * total / first.arrived;
    print(&format!("  of a score of {:.6}, {total:.6} is lost on the way ({share:.1} %):", first.arrived));
    let mut sorted: Vec<&Loss> = found.iter().collect();
    sorted.sort_by(|a, b| b.lost().abs().total_cmp(&a.lost().abs()));
    print(&format!("  {:>14} {:>14} {:>14}  node", "arrives", "leaves", "lost"));
    let noticed = |loss: &&&Loss| loss.lost().abs() > 1e-5 * first.arrived.abs();
    for loss in sorted.iter().filter(noticed).take(LISTED) {
        print(&format!(
            "  {:>14.6} {:>14.6} {:>14.6}  {}",
            loss.arrived,
            loss.left,
            loss.lost(),
            loss.output
        ));
    }
    let more = sorted.iter().filter(noticed).count().saturating_sub(LISTED);
    if more > 0 {
        print(&format!("  and {more} more nodes: --json lists all"));
    }
}
