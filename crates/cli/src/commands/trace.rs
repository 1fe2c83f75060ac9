//! `pellucid trace`.

use std::process::ExitCode;

use pellucid::render::{json, terminal};
use pellucid::{Error, Examples, InspectOptions};

use super::inspect::{example, judge};
use super::{limits, open};
use crate::arguments::Trace;
use crate::console::{print, style};

pub(crate) fn run(arguments: &Trace) -> Result<ExitCode, Error> {
    let model = open(&arguments.model, &arguments.describing)?;
    let examples = Examples::open(&model, &arguments.inputs)?;
    let judge = judge(&model, arguments.target.as_deref(), arguments.label.as_deref())?;
    let options = InspectOptions {
        judge: judge.of_row(arguments.row, examples.len()),
        score: arguments.describing.score.clone(),
        limits: limits(&arguments.running),
        ..InspectOptions::default()
    };
    let example = example(&examples, arguments.row)?;
    let trace = pellucid::inspect::trace(&model, &example, &arguments.neuron, &options)?;
    if arguments.json {
        print(&format!("{:#}", json::trace(&trace)?));
    } else {
        print(&terminal::trace(&trace, style()));
    }
    Ok(ExitCode::SUCCESS)
}
