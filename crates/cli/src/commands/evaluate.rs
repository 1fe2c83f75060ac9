//! `pellucid evaluate`.

use std::process::ExitCode;

use pellucid::render::evaluation as text;
use pellucid::{Error, EvaluateOptions, Format, Model, Options, Outputs, Subject, Task};
use pellucid_train::{Asked, Known, Part};

use super::explain::command;
use super::{limits, open};
use crate::arguments::evaluate::{self as chosen, Evaluate};
use crate::console::{Console, print, style};

pub(crate) fn run(arguments: &Evaluate) -> Result<ExitCode, Error> {
    let mut read = arguments.models.clone();
    read.push(arguments.data.clone());
    let outputs = Outputs::new(&arguments.output, Format::OF_EVALUATIONS, &read)?;
    let models: Vec<Model> =
        arguments.models.iter().map(|path| open(path, &arguments.describing)).collect::<Result<_, _>>()?;
    let limits = limits(&arguments.running);
    let options = EvaluateOptions {
        task: arguments.task.map(|task| match task {
            chosen::Task::Classification => Task::Classification,
            chosen::Task::MultiLabel => Task::MultiLabel,
            chosen::Task::Regression => Task::Regression,
        }),
        score: arguments.describing.score.clone(),
        top: arguments.top,
        bins: arguments.bins,
        replicates: arguments.replicates,
        level: arguments.level,
        seed: arguments.seed,
        mistakes: arguments.mistakes,
        explain: arguments.explain.as_ref().map(|method| Options {
            settings: arguments.set.clone(),
            layer: arguments.layer.clone(),
            seed: arguments.seed,
            limits,
            ..Options::new(method)
        }),
        limits,
    };
    let asked = Asked {
        data: arguments.data.clone(),
        part: arguments.part.map(|part| match part {
            chosen::Part::Train => Part::Train,
            chosen::Part::Test => Part::Test,
        }),
        targets: arguments.answers.targets.clone(),
        output: arguments.describing.score.clone(),
        skip_broken: arguments.answers.skip_broken,
        threads: arguments.running.threads.map(usize::from),
    };
    let known: Vec<Known> =
        models.iter().map(|model| Known::open(model, &asked)).collect::<Result<_, _>>()?;
    let subjects: Vec<Subject<'_>> =
        models.iter().zip(&known).map(|(model, data)| Subject { model, data }).collect();
    let console = Console::by_rows();
    let result = pellucid::evaluate(&subjects, &options, &console);
    console.finish();
    let mut evaluation = result?;
    evaluation.command = command();
    for note in known.into_iter().flat_map(|known| known.notes) {
        if !evaluation.notes.contains(&note) {
            evaluation.notes.push(note);
        }
    }
    let written = outputs.write_evaluation(&evaluation)?;
    if arguments.json {
        print(&evaluation.to_json()?);
        return Ok(ExitCode::SUCCESS);
    }
    print(&text::evaluation(&evaluation, style()));
    for path in written {
        print(&format!("wrote {}", path.display()));
    }
    Ok(ExitCode::SUCCESS)
}
