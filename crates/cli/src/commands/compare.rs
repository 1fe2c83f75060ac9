//! `pellucid compare`.

use std::process::ExitCode;

use pellucid::compare::{check, parse_methods};
use pellucid::render::{json, terminal};
use pellucid::{Baseline, Error, Format, Options, Outputs};

use super::explain::command;
use super::{baseline, limits, open, targets};
use crate::arguments::Compare;
use crate::console::{Console, print, style};

pub(crate) fn run(arguments: &Compare) -> Result<ExitCode, Error> {
    let mut read = arguments.inputs.clone();
    read.push(arguments.model.clone());
    let outputs = Outputs::new(&arguments.output, Format::OF_COMPARISONS, &read)?;
    let methods = parse_methods(&arguments.method)?;
    let model = open(&arguments.model, &arguments.describing)?;
    let shared = Options {
        targets: arguments.target.as_ref().map_or_else(Vec::new, |text| targets(&model, text)),
        baseline: baseline(&arguments.baseline),
        background: arguments.background.clone().map(Baseline::File),
        layer: arguments.layer.clone(),
        neuron: arguments.neuron.clone(),
        score: arguments.describing.score.clone(),
        seed: arguments.seed,
        limits: limits(&arguments.running),
        ..Options::default()
    };
    check(&model, &methods, &shared)?;
    let inputs = model.read(&arguments.inputs)?;
    let console = Console::new();
    let result = pellucid::compare(&model, &inputs, &methods, &shared, &console);
    console.finish();
    let mut comparison = result?;
    comparison.command = command();
    let written = outputs.write_comparison(&comparison)?;
    if arguments.json {
        print(&format!("{:#}", json::comparison(&comparison)));
        return Ok(ExitCode::SUCCESS);
    }
    print(&terminal::comparison(&comparison, style()));
    for path in written {
        print(&format!("wrote {}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}
