//! `pellucid coverage`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use pellucid::{Error, Model, Options};

use super::explain::chosen;
use crate::arguments::Coverage;
use crate::console::print;

pub(crate) fn run(arguments: &Coverage) -> Result<ExitCode, Error> {
    let model = Model::open(&arguments.model)?;
    let options = Options { score: arguments.score.clone(), ..chosen(&arguments.choosing) };
    let coverage = pellucid::coverage(&model, &options)?;
    let offences = coverage.offences().count();
    let code = if offences == 0 { ExitCode::SUCCESS } else { ExitCode::from(2) };
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
                "nodes": nodes,
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
