//! `pellucid summary`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use pellucid::render::summary as rendered;
use pellucid::summary::{SINGULAR_VALUES, difference, profiled};
use pellucid::{Error, Format, Model, Outputs, SummaryOptions, summary};

use super::limits;
use crate::arguments::Summary;
use crate::console::{Console, print, style};

pub(crate) fn run(arguments: &Summary) -> Result<ExitCode, Error> {
    let mut read = vec![arguments.model.clone()];
    read.extend(arguments.other.clone());
    let formats = if arguments.other.is_some() { Format::OF_DIFFERENCES } else { Format::OF_SUMMARIES };
    let outputs = Outputs::new(&arguments.output, formats, &read)?;
    let model = Model::open(&arguments.model)?;
    if let Some(other) = &arguments.other {
        return compare(arguments, &model, &Model::open(other)?, &outputs);
    }
    let most = arguments.singular_values.and_then(|most| usize::try_from(most).ok());
    let options = SummaryOptions {
        rows: arguments.running.batch.and_then(|rows| usize::try_from(rows).ok()).unwrap_or(1),
        sizes: sizes(&arguments.size)?,
        weights: arguments.weights || arguments.json || !outputs.is_empty(),
        singular_values: most.unwrap_or(SINGULAR_VALUES),
    };
    let summary = if arguments.profile {
        let console = Console::new();
        let found = profiled(&model, &options, &limits(&arguments.running), &console);
        console.finish();
        found?
    } else {
        summary(&model, &options)?
    };
    let written = outputs.write_summary(&summary)?;
    if arguments.json {
        print(&summary.to_json()?);
        return Ok(ExitCode::SUCCESS);
    }
    print(&rendered::summary(&summary, arguments.depth.map(usize::from), arguments.weights, style()));
    for path in written {
        print(&format!("wrote {}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn compare(arguments: &Summary, first: &Model, second: &Model, outputs: &Outputs) -> Result<ExitCode, Error> {
    let found = difference(first, second)?;
    let written = outputs.write_difference(&found)?;
    if arguments.json {
        print(&found.to_json()?);
        return Ok(ExitCode::SUCCESS);
    }
    print(&rendered::difference(&found, style()));
    for path in written {
        print(&format!("wrote {}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}

fn sizes(given: &[(String, String)]) -> Result<BTreeMap<String, i64>, Error> {
    let mut sizes = BTreeMap::new();
    for (name, text) in given {
        let size = text.parse::<i64>().ok().filter(|size| *size > 0);
        let problem = || Error::Setting {
            name: "size".to_owned(),
            problem: format!("{name}={text}: expected a number of 1 or more"),
        };
        sizes.insert(name.clone(), size.ok_or_else(problem)?);
    }
    Ok(sizes)
}
