//! `pellucid methods`.

use std::process::ExitCode;

use pellucid::Error;
use pellucid::methods::{self, Definition, Form, Parameter};
use serde_json::json;

use crate::arguments::Methods;
use crate::console::print;

pub(crate) fn run(arguments: &Methods) -> Result<ExitCode, Error> {
    let chosen = match &arguments.name {
        Some(name) => vec![methods::find(name)?],
        None => methods::all(),
    };
    if arguments.json {
        let all: Vec<serde_json::Value> = chosen.iter().map(|definition| described(definition)).collect();
        print(&format!("{:#}", json!(all)));
    } else if arguments.name.is_some() {
        for definition in chosen {
            tell(definition);
        }
    } else {
        for definition in chosen {
            print(&format!("  {:<22} {}", definition.name, definition.summary));
        }
        print("\n`pellucid methods NAME` tells all about one");
    }
    Ok(ExitCode::SUCCESS)
}

fn claims(definition: &Definition) -> Vec<&'static str> {
    definition.claims.iter().map(|claim| claim.name()).collect()
}

fn compiles(definition: &Definition) -> bool {
    matches!(definition.form, Form::Compiled(_))
}

fn described(definition: &Definition) -> serde_json::Value {
    let parameters: Vec<serde_json::Value> = definition
        .parameters
        .iter()
        .chain(definition.common())
        .map(|parameter| json!({"name": parameter.name, "summary": parameter.summary, "default": parameter.default}))
        .collect();
    let source = &definition.source;
    json!({
        "name": definition.name,
        "summary": definition.summary,
        "formula": definition.formula,
        "conventions": definition.conventions,
        "source": {"authors": source.authors, "year": source.year, "title": source.title, "id": source.id},
        "parameters": parameters,
        "claims": claims(definition),
        "cost": definition.cost,
        "baseline": definition.baseline,
        "background": definition.background(),
        "layer": definition.layer,
        "compiles": compiles(definition),
    })
}

fn tell_parameter(parameter: &Parameter) {
    let default = if parameter.default.is_empty() {
        String::new()
    } else {
        format!(" (default {})", parameter.default)
    };
    print(&format!("  --set {}=…  {}{default}", parameter.name, parameter.summary));
}

fn tell(definition: &Definition) {
    let source = &definition.source;
    print(&format!("{}\n  {}\n\n  {}\n", definition.name, definition.summary, definition.formula));
    if !definition.conventions.is_empty() {
        print(&format!("  {}\n", definition.conventions));
    }
    print(&format!("  cost      {}", definition.cost));
    print(&format!(
        "  compiles  {}",
        if compiles(definition) { "yes" } else { "no, it evaluates the model from outside" }
    ));
    let claims = claims(definition);
    print(&format!("  claims    {}", if claims.is_empty() { "none".to_owned() } else { claims.join(", ") }));
    for parameter in definition.parameters {
        tell_parameter(parameter);
    }
    let common: Vec<&Parameter> = definition.common().collect();
    if !common.is_empty() {
        print("\n  at other points than its own, as every method that compiles:");
        common.into_iter().for_each(tell_parameter);
    }
    print(&format!("\n  {} ({}), {}, {}", source.authors, source.year, source.title, source.id));
}
