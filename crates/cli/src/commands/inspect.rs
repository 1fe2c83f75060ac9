//! `pellucid inspect`.

use std::process::ExitCode;

use pellucid::inspect::Reference;
use pellucid::render::{json, terminal};
use pellucid::{Error, Examples, Format, InspectOptions, Judge, Model, Outputs, RightAnswers};

use super::{limits, open, targets};
use crate::arguments::Inspect;
use crate::console::{Console, print, style};

pub(crate) fn run(arguments: &Inspect) -> Result<ExitCode, Error> {
    let mut read = arguments.inputs.clone();
    read.push(arguments.model.clone());
    let outputs = Outputs::new(&arguments.output, Format::OF_INSPECTIONS, &read)?;
    let model = open(&arguments.model, &arguments.describing)?;
    let options = InspectOptions {
        judge: judge(&model, arguments.target.as_deref(), arguments.label.as_deref())?,
        score: arguments.describing.score.clone(),
        learning_rate: arguments.learning_rate,
        reference: arguments.reference.as_deref().map(Reference::read).transpose()?,
        limits: limits(&arguments.running),
    };
    let examples = Examples::open(&model, &arguments.inputs)?;
    let console = Console::by_rows();
    let result = pellucid::inspect(&model, &examples, &options, &outputs, &console);
    console.finish();
    let inspection = result?;
    let written = outputs.write_inspection(&inspection)?;
    if arguments.json {
        print(&format!("{:#}", json::inspection(&inspection)?));
        return Ok(ExitCode::SUCCESS);
    }
    print(&terminal::inspection(&inspection, style()));
    for path in written {
        print(&format!("wrote {}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

/// What errors are derivatives of.
pub(crate) fn judge(model: &Model, target: Option<&str>, label: Option<&str>) -> Result<Judge, Error> {
    match (target, label) {
        (_, Some(label)) => RightAnswers::parse(label, model).map(Judge::Loss),
        (Some(target), None) => match targets(model, target).as_slice() {
            [one] => Ok(Judge::Target(one.clone())),
            several => Err(Error::Setting {
                name: "target".to_owned(),
                problem: format!("{} classes found, expected one", several.len()),
            }),
        },
        (None, None) => Ok(Judge::Nothing),
    }
}
