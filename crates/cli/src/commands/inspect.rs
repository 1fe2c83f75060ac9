//! `pellucid inspect`.

use std::process::ExitCode;

use pellucid::inspect::{Reference, StrongestOptions, feature_maps};
use pellucid::render::{self, json, terminal};
use pellucid::{Error, Examples, Format, Inputs, InspectOptions, Judge, Model, Outputs, RightAnswers};

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
    if arguments.full {
        return full(arguments, &model, &examples, &options);
    }
    if let Some(layer) = &arguments.maps {
        return maps(&model, &examples, (layer, arguments.row), &options, &outputs);
    }
    if let Some(of) = &arguments.strongest {
        let count = usize::from(arguments.count);
        let options = StrongestOptions { of: of.clone(), count, inspect: options };
        return strongest(arguments, &model, &examples, &options, &outputs);
    }
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
    tell(&written);
    Ok(ExitCode::SUCCESS)
}

/// One row of the examples.
pub(crate) fn example(examples: &Examples<'_>, row: usize) -> Result<Inputs, Error> {
    if row >= examples.len() {
        return Err(Error::Setting {
            name: "row".to_owned(),
            problem: format!("row {row} does not exist: there are {}, from 0", examples.len()),
        });
    }
    examples.read(row..row + 1)
}

fn full(
    arguments: &Inspect,
    model: &Model,
    examples: &Examples<'_>,
    options: &InspectOptions,
) -> Result<ExitCode, Error> {
    let example = example(examples, arguments.row)?;
    let judge = options.judge.of_row(arguments.row, examples.len());
    let options = InspectOptions { judge, ..options.clone() };
    let (layers, judged) = pellucid::inspect::full(model, &example, &options)?;
    if arguments.json {
        print(&format!("{:#}", json::full(&layers, judged)?));
    } else {
        print(&terminal::full(&layers, judged, style()));
    }
    Ok(ExitCode::SUCCESS)
}

fn maps(
    model: &Model,
    examples: &Examples<'_>,
    (layer, row): (&str, usize),
    options: &InspectOptions,
    outputs: &Outputs,
) -> Result<ExitCode, Error> {
    if outputs.is_empty() {
        return Err(Error::Setting {
            name: "maps".to_owned(),
            problem: "maps are a picture: name a file to write, such as -o maps.png".to_owned(),
        });
    }
    let maps = feature_maps(model, &example(examples, row)?, layer, options)?;
    let written = outputs.write_picture(|| render::maps_png(&maps), || render::maps_svg(&maps), None)?;
    tell(&written);
    Ok(ExitCode::SUCCESS)
}

fn strongest(
    arguments: &Inspect,
    model: &Model,
    examples: &Examples<'_>,
    options: &StrongestOptions,
    outputs: &Outputs,
) -> Result<ExitCode, Error> {
    let console = Console::by_rows();
    let result = pellucid::inspect::strongest(model, examples, options, &console);
    console.finish();
    let found = result?;
    let value = json::strongest(&found);
    let drawn = (|| render::strongest_png(&found), || render::strongest_svg(&found));
    let written = outputs.write_picture(drawn.0, drawn.1, Some(&value))?;
    if arguments.json {
        print(&format!("{value:#}"));
        return Ok(ExitCode::SUCCESS);
    }
    print(&terminal::strongest(&found));
    tell(&written);
    Ok(ExitCode::SUCCESS)
}

fn tell(written: &[std::path::PathBuf]) {
    for path in written {
        print(&format!("wrote {}", path.display()));
    }
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
