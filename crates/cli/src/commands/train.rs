//! `pellucid train`.

use std::path::PathBuf;
use std::process::ExitCode;

use pellucid::{Error, Limits, Model};
use pellucid_train::{Outcome, Settings, resume, train};

use crate::arguments::Train;
use crate::console::{Training, print, spoken};

pub(crate) fn run(arguments: &Train) -> Result<ExitCode, Error> {
    let limits = Limits {
        engine: arguments.engine,
        threads: arguments.threads.map(usize::from),
        memory: arguments.memory,
        ..Limits::default()
    };
    let watcher = Training::new(!arguments.json);
    let (outcome, folder) = match (&arguments.resume, &arguments.model, &arguments.output) {
        (Some(folder), ..) => (resume(folder, &limits, &watcher), folder.clone()),
        (None, Some(model), Some(folder)) => {
            let settings = settings(arguments)?;
            let model = Model::open(model)?;
            (train(&model, &settings, folder, &limits, &watcher), folder.clone())
        }
        _ => return Err(Error::Internal("neither a model nor a run was given".to_owned())),
    };
    let notes = watcher.finish();
    told(&outcome?, &folder, &notes, arguments.json)
}

/// The file's settings, with what the arguments say.
fn settings(arguments: &Train) -> Result<Settings, Error> {
    let mut settings = match &arguments.settings {
        Some(path) => Settings::read(path)?,
        None => Settings::default(),
    };
    settings = settings.with(&arguments.set)?;
    if let Some(data) = &arguments.data {
        settings.data.path.clone_from(data);
    }
    if arguments.test.is_some() {
        settings.data.test.clone_from(&arguments.test);
    }
    if arguments.answers.targets.is_some() {
        settings.data.targets.clone_from(&arguments.answers.targets);
    }
    settings.data.skip_broken |= arguments.answers.skip_broken;
    let given = [
        ("epochs", arguments.epochs.map(|value| value.to_string())),
        ("batch", arguments.batch.map(|value| value.to_string())),
        ("optimizer.learning_rate", arguments.learning_rate.map(|value| format!("{value:?}"))),
        ("seed", arguments.seed.map(|value| value.to_string())),
        ("head", arguments.head.map(|value| value.to_string())),
    ];
    let given: Vec<(String, String)> =
        given.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect();
    if settings.data.path == PathBuf::new() {
        return Err(Error::Setting {
            name: "data".to_owned(),
            problem: "nothing says where it is: give --data, or path under [data] in the settings".to_owned(),
        });
    }
    settings.with(&given)
}

fn told(
    outcome: &Outcome,
    folder: &std::path::Path,
    notes: &[String],
    json: bool,
) -> Result<ExitCode, Error> {
    let run = folder.display();
    let Some(model) = &outcome.model else {
        eprintln!("stopped; go on with: pellucid train --resume {run}");
        return Err(Error::Stopped);
    };
    let test = outcome.test.as_ref();
    if json {
        print(&format!(
            "{:#}",
            serde_json::json!({
                "model": model.display().to_string(),
                "epochs": outcome.history,
                "best_epoch": outcome.best_epoch,
                "test": test.map(|test| serde_json::json!({
                    "loss": test.mean_loss(), "accuracy": test.accuracy(), "rows": test.rows,
                })),
                "seconds": outcome.seconds,
                "notes": notes,
            })
        ));
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(best) = outcome.best_epoch {
        print(&format!(
            "the weights of epoch {best} were best on the rows held out, and are what is written"
        ));
    }
    if let Some(test) = test {
        let share =
            test.accuracy().map_or_else(String::new, |share| format!(", {:.2} % right", share * 100.0));
        print(&format!("test: loss {:.4}{share}, {} rows", test.mean_loss(), test.rows));
    }
    print(&format!(
        "wrote {} after {}; metrics in {run}/metrics.csv",
        model.display(),
        spoken(outcome.seconds)
    ));
    Ok(ExitCode::SUCCESS)
}
