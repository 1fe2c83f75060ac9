//! `pellucid compile`.

use std::process::ExitCode;

use pellucid::{ArtefactBaseline, ArtefactOptions, Error, Options};

use super::explain::chosen;
use super::{baseline, open, targets};
use crate::arguments::Compile;
use crate::console::print;

pub(crate) fn run(arguments: &Compile) -> Result<ExitCode, Error> {
    let path = &arguments.output;
    if path.extension().is_none_or(|ending| ending != "onnx") {
        return Err(Error::Output { path: path.clone(), problem: "it must end in .onnx".to_owned() });
    }
    pellucid::write::check_file(path, &[&arguments.model])?;
    let model = open(&arguments.model, &arguments.describing)?;
    let options = Options {
        score: arguments.describing.score.clone(),
        seed: arguments.seed,
        ..chosen(&arguments.choosing)
    };
    let start = |given: &Option<String>| match given {
        None => ArtefactBaseline::Input,
        Some(text) => ArtefactBaseline::Fixed(baseline(text)),
    };
    let wanted = ArtefactOptions {
        targets: arguments.target.as_ref().map_or_else(Vec::new, |text| targets(&model, text)),
        baseline: start(&arguments.baseline),
        background: start(&arguments.background),
    };
    let compiled = pellucid::compile(&model, &options, &wanted)?;
    let bytes = compiled.bytes.len();
    pellucid::write::write_whole(&[(path.clone(), compiled.bytes)])?;
    let file = path.display().to_string();
    if arguments.json {
        let settings: serde_json::Map<String, serde_json::Value> =
            compiled.settings.into_iter().map(|(key, value)| (key, value.into())).collect();
        print(&format!(
            "{:#}",
            serde_json::json!({
                "file": file,
                "bytes": bytes,
                "method": arguments.choosing.method,
                "settings": settings,
                "inputs": compiled.inputs,
                "outputs": compiled.outputs,
                "layer": compiled.layer,
                "neuron": arguments.choosing.neuron,
                "notes": compiled.notes,
            })
        ));
        return Ok(ExitCode::SUCCESS);
    }
    let list = |names: &[String]| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    print(&format!("wrote {file}, {:.1} MB", bytes as f64 / 1e6));
    print(&format!("  method         {}", arguments.choosing.method));
    for (key, value) in &compiled.settings {
        print(&format!("  {key:<14} {value}"));
    }
    if let Some(layer) = &compiled.layer {
        print(&format!("  layer          {layer}"));
    }
    if let Some(neuron) = &arguments.choosing.neuron {
        print(&format!("  neuron         {neuron}"));
    }
    print(&format!("  added inputs   {}", list(&compiled.inputs)));
    print(&format!("  added outputs  {}", list(&compiled.outputs)));
    for note in &compiled.notes {
        print(&format!("  note: {note}"));
    }
    Ok(ExitCode::SUCCESS)
}
