//! Who is told how a run goes, and what a run that goes wrong is told as.

use pellucid_compile::training::{Role, TrainingStep};

use crate::checkpoint::Epoch;
use crate::settings::{OptimizerName, Settings};

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// The epoch, from 1.
    pub epoch: u32,
    /// All epochs.
    pub epochs: u32,
    /// Steps that are done.
    pub step: u64,
    /// All steps.
    pub steps: u64,
    /// Mean loss of this epoch so far.
    pub loss: f64,
    /// Share of this epoch's rows predicted right so far.
    pub accuracy: Option<f64>,
    /// Learning rate of the last step.
    pub learning_rate: f64,
    /// Seconds until the end, as the steps so far took.
    pub left: f64,
}

/// Told how a run goes; asked whether to go on.
pub trait Watcher: Sync {
    /// After each step.
    fn step(&self, moment: &Moment) {
        let _ = moment;
    }

    /// After each epoch.
    fn epoch(&self, epoch: &Epoch) {
        let _ = epoch;
    }

    /// What the run is about, and what should be known of it.
    fn note(&self, text: &str) {
        let _ = text;
    }

    /// Whether the caller wants the run to end; asked after each step. A checkpoint is written then.
    fn is_cancelled(&self) -> bool {
        false
    }
}

/// Tells nobody and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Watcher for Quiet {}

/// What to do where a loss is no number any more.
pub(crate) fn not_a_number(settings: &Settings, step: u64, rate: f64, losses: &[f64]) -> String {
    let mut advice =
        vec![format!("a smaller learning rate, such as {:.0e}", settings.learning_rate() / 10.0)];
    if settings.optimizer.clip.is_none() {
        advice.push("clipped derivatives (optimizer.clip=1.0)".to_owned());
    }
    if settings.schedule.warm_up <= 0.0 {
        advice.push("a warm-up (schedule.warm_up=0.05)".to_owned());
    }
    let before = losses.last().map_or_else(String::new, |loss| format!(", after {loss:.3} before it"));
    format!(
        "the loss of step {} is not a number{before}: the weights ran away at a learning rate of {rate:.2e}; try {}",
        step + 1,
        advice.join(", ")
    )
}

/// What can be said of a run after an epoch. `guess` is the loss of a prediction that knows nothing but the classes'
/// shares.
pub(crate) fn of_epochs(settings: &Settings, history: &[Epoch], guess: Option<f64>) -> Vec<String> {
    let mut said = Vec::new();
    let Some(last) = history.last() else { return said };
    let rate = settings.learning_rate();
    if let Some(guess) = guess {
        if history.len() == 1 && last.loss > 1.5 * guess {
            said.push(format!(
                "the loss of the first epoch, {:.3}, is far above that of guessing, {guess:.3}: the learning rate of \
                 {rate:.1e} may be too large",
                last.loss
            ));
        } else if history.len() <= 3 && (last.loss - guess).abs() < 0.02 * guess {
            let larger = if settings.optimizer.name == OptimizerName::Sgd { rate * 10.0 } else { rate * 3.0 };
            said.push(format!(
                "after {} epochs the loss is still that of guessing, {guess:.3}: a larger learning rate, such as \
                 {larger:.0e}, may get it moving; see also whether targets belong to their rows",
                history.len()
            ));
        }
    }
    if let [.., before, _] = history
        && last.loss > 1.3 * before.loss
        && last.loss - before.loss > 0.05
    {
        said.push(format!(
            "the loss rose from {:.3} to {:.3} in this epoch: a smaller learning rate or clipped derivatives \
             (optimizer.clip=1.0) would steady it",
            before.loss, last.loss
        ));
    }
    if let (Some(held), Some(best)) = (last.validation_loss, best_validation(history))
        && history.len() > 3
        && held > 1.15 * best
        && last.loss < best
    {
        said.push(format!(
            "rows held out cost {held:.3}, which is more than the {best:.3} of an earlier epoch, while the loss goes on \
             falling: the network begins to learn the rows by heart; fewer epochs (patience=3), more augmentation or \
             more weight decay would help"
        ));
    }
    said
}

fn best_validation(history: &[Epoch]) -> Option<f64> {
    history.iter().filter_map(|epoch| epoch.validation_loss).reduce(f64::min)
}

/// What the sizes of derivatives say: `norms` holds, for each weight, the root of the mean square of its derivative,
/// from the input to the output.
pub(crate) fn of_derivatives(step: &TrainingStep, norms: &[f64]) -> Vec<String> {
    let mut said = Vec::new();
    let named = |at: usize| step.weights.get(at).map_or("", |weight| weight.weight.as_str());
    let silent: Vec<&str> =
        norms.iter().enumerate().filter(|(_, norm)| **norm == 0.0).map(|(at, _)| named(at)).collect();
    if !silent.is_empty() {
        said.push(format!(
            "no error reaches {}: what lies between it and the loss is dead or cut off",
            some(&silent)
        ));
    }
    let (first, last) = (norms.first().copied().unwrap_or(0.0), norms.last().copied().unwrap_or(0.0));
    if first > 0.0 && last > 0.0 && norms.len() > 4 {
        if first < 1e-5 * last {
            said.push(format!(
                "errors vanish on the way back: they are {:.0e} times as large at {} as at {}; normalisation or \
                 residual connections keep them up",
                first / last,
                named(0),
                named(norms.len() - 1)
            ));
        } else if first > 1e4 * last {
            said.push(format!(
                "errors explode on the way back: they are {:.0e} times as large at {} as at {}; clip derivatives \
                 (optimizer.clip=1.0) or normalise",
                first / last,
                named(0),
                named(norms.len() - 1)
            ));
        }
    }
    said
}

/// The share of a fresh network's statistics above which a run that ends with it is told so.
const UNSETTLED: f64 = 0.02;

/// What is left at the end of a run of `steps` of the zeros and ones that running statistics of a fresh network start from.
pub(crate) fn of_statistics(step: &TrainingStep, steps: u64) -> Option<String> {
    let is_fresh = |name: &str| {
        let start = step.state.iter().find(|carried| carried.role == Role::Model && carried.input == name);
        let values = start.map(|carried| carried.start.to_f64()).unwrap_or_default();
        [0.0, 1.0].iter().any(|fresh| values.iter().all(|value| value.total_cmp(fresh).is_eq()))
    };
    let fresh: Vec<_> = step.statistics.iter().filter(|statistic| is_fresh(&statistic.name)).collect();
    let kept = fresh.iter().map(|statistic| statistic.kept).fold(0.0, f64::max);
    let left = kept.powi(i32::try_from(steps).unwrap_or(i32::MAX));
    (left > UNSETTLED).then(|| {
        format!(
            "running statistics of batch normalisation move by {:.3} a step: after {steps} steps {:.0} % of the zeros and \
             ones that {} of them start from are left, and predictions are made with them; more steps (epochs, smaller \
             batches) or trained weights to begin with would settle them",
            1.0 - kept,
            100.0 * left,
            fresh.len()
        )
    })
}

/// What dead units say: for each rectifier, its units and those that no row of a batch made fire.
pub(crate) fn of_units(layers: &[(String, usize, usize)]) -> Vec<String> {
    layers
        .iter()
        .filter(|(_, units, dead)| *units > 1 && 3 * *dead > *units)
        .map(|(name, units, dead)| {
            format!(
                "{dead} of {units} units of {name} answer to no row of a batch: they learn nothing any more; a smaller \
                 learning rate, normalisation, or a leaky rectifier keeps units alive"
            )
        })
        .collect()
}

fn some(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [one, other] => format!("{one} and {other}"),
        [one, other, rest @ ..] => format!("{one}, {other} and {} more", rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pellucid_compile::training::training_step;
    use pellucid_graph::Tensor;

    use super::*;
    use crate::new::{Design, design};
    use crate::settings::LossName;

    fn epoch(loss: f64, held: f64) -> Epoch {
        Epoch { loss, validation_loss: Some(held), ..Epoch::default() }
    }

    #[test]
    fn runs_that_go_wrong_are_told() {
        let settings = Settings::default();
        let of = |history: &[Epoch]| of_epochs(&settings, history, Some(2.303)).join("; ");
        assert!(of(&[epoch(9.0, 9.0)]).contains("too large"));
        assert!(of(&[epoch(2.31, 2.3), epoch(2.305, 2.3)]).contains("still that of guessing"));
        assert!(of(&[epoch(0.5, 0.5), epoch(1.0, 1.0)]).contains("rose from 0.500 to 1.000"));
        let by_heart = [epoch(0.9, 0.5), epoch(0.5, 0.45), epoch(0.3, 0.4), epoch(0.1, 0.6)];
        assert!(of(&by_heart).contains("by heart"));
        assert!(of(&[epoch(1.5, 1.2), epoch(0.9, 1.0)]).is_empty());
        let told = not_a_number(&settings, 4, 0.1, &[7.25]);
        assert!(told.starts_with("the loss of step 5 is not a number, after 7.250 before it"), "{told}");
        assert!(
            of_units(&[("relu".into(), 10, 9), ("other".into(), 10, 1)])
                .join("")
                .starts_with("9 of 10 units")
        );
    }

    #[test]
    fn statistics_that_stay_near_their_start_are_told() {
        let small = Design {
            family: "resnet-small".to_owned(),
            input: Some(vec![1, 12, 12]),
            outputs: Some(3),
            ..Design::default()
        };
        let graph = design(&small).unwrap();
        let symbol = graph.symbols().first().cloned().unwrap();
        let graph = graph.bind(&BTreeMap::from([(symbol, 2)])).unwrap();
        let mut step =
            training_step(&graph, &Settings::default().config(LossName::CrossEntropy, &[])).unwrap();
        let count = step.statistics.len();
        assert!(count > 8, "means and variances of every normalisation");
        let kept = step.statistics[0].kept;
        let enough =
            (1u64..10_000).find(|steps| kept.powi(i32::try_from(*steps).unwrap()) <= UNSETTLED).unwrap();
        assert!(enough > 10);
        assert!(of_statistics(&step, enough - 1).is_some());
        assert_eq!(of_statistics(&step, enough), None);
        let told = of_statistics(&step, enough / 2).unwrap();
        assert!(told.contains(&format!("that {count} of them start from")), "{told}");
        // A trained network's statistics are what it was trained with.
        for carried in &mut step.state {
            let values: Vec<f32> = (0..carried.start.len()).map(|k| 0.3 + k as f32).collect();
            carried.start = Tensor::from_f32(carried.start.shape().to_vec(), &values).unwrap();
        }
        assert_eq!(of_statistics(&step, 1), None);
    }
}
