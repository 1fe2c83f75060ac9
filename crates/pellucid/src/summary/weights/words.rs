//! What is remarkable of a weight, in words. Thresholds are where a trained network hardly ever is.

use super::{Role, WeightStatistics};

/// Numbers further out than this many standard deviations are outliers.
const FAR: f64 = 30.0;

/// Above this a distribution has far heavier tails than trained layers have.
const HEAVY: f64 = 100.0;

/// Below this share of what its shape allows, a matrix uses few directions.
const NARROW: f64 = 0.1;

/// Spread further than this from the usual initialisation, either way.
const UNUSUAL: f64 = 30.0;

/// Channels that are named.
const NAMED: usize = 4;

/// What is remarkable, the worst first.
pub(super) fn remarks(weight: &WeightStatistics) -> Vec<String> {
    let mut found = Vec::new();
    let count: usize = weight.shape.iter().product();
    if weight.not_finite > 0 {
        found.push(format!("{} of {count} numbers are not finite", weight.not_finite));
    }
    if count > 1
        && weight.largest() == 0.0
        && !matches!(weight.role, Role::Bias | Role::Shift | Role::RunningMean)
    {
        found.push("all of it is 0: the layer gives nothing but its bias".to_owned());
        return found;
    }
    channels(weight, &mut found);
    spread(weight, &mut found);
    running(weight, &mut found);
    if let Some(spectrum) = &weight.spectrum {
        let full = spectrum.singular_values.len();
        if full >= 8 && spectrum.rank < full {
            found.push(format!("of rank {} where its shape allows {full}", spectrum.rank));
        } else if full >= 16 && spectrum.effective_rank < NARROW * full as f64 {
            found.push(format!(
                "few directions carry it: effective rank {:.1} of {full}",
                spectrum.effective_rank
            ));
        }
    }
    if weight.role.is_product()
        && let Some(like) = weight.initialisation.as_ref().and_then(|initial| initial.like)
    {
        found.push(format!("distributed as an initialisation ({like}): perhaps never trained"));
    }
    found
}

fn channels(weight: &WeightStatistics, found: &mut Vec<String>) {
    let total = if weight.channel_norms.is_empty() { weight.shape[0] } else { weight.channel_norms.len() };
    // Rows of an embedding that nobody looks up are zero on purpose.
    if !weight.dead_channels.is_empty() && weight.role != Role::Table {
        let numbers = listed(weight.dead_channels.iter().map(ToString::to_string));
        let are = if weight.dead_channels.len() == 1 { "is" } else { "are" };
        found.push(format!(
            "{} of {total} channels {are} dead, all weights as good as 0: number {numbers}",
            weight.dead_channels.len()
        ));
    }
    if !weight.duplicate_channels.is_empty() && weight.role != Role::Table {
        let pairs = weight.duplicate_channels.iter().map(|(channel, first)| format!("{channel} = {first}"));
        let repeats = if weight.duplicate_channels.len() == 1 { "repeats" } else { "repeat" };
        found.push(format!(
            "{} of {total} channels {repeats} an earlier one: {}",
            weight.duplicate_channels.len(),
            listed(pairs)
        ));
    }
}

fn spread(weight: &WeightStatistics, found: &mut Vec<String>) {
    if !weight.role.is_product() || weight.std == 0.0 {
        return;
    }
    let far = weight.largest() / weight.std;
    if far > FAR {
        let value = if weight.quantiles[6] >= -weight.quantiles[0] {
            weight.quantiles[6]
        } else {
            weight.quantiles[0]
        };
        found.push(format!("an outlier: {value:.3} is {far:.0} standard deviations out"));
    } else if weight.excess_kurtosis > HEAVY {
        found.push(format!("heavy tails: excess kurtosis {:.0}", weight.excess_kurtosis));
    }
    if weight.mean.abs() > weight.std {
        found.push(format!(
            "off centre: its mean is {:.1} standard deviations from 0",
            weight.mean / weight.std
        ));
    }
    if let Some(ratio) = weight.initialisation.as_ref().and_then(|initial| initial.ratio)
        && weight.role != Role::Table
    {
        if ratio > UNUSUAL {
            found.push(format!("{ratio:.0} times as wide as usually initialised: activations may explode"));
        } else if ratio < 1.0 / UNUSUAL {
            found.push(format!(
                "{:.0} times narrower than usually initialised: signals may vanish",
                1.0 / ratio
            ));
        }
    }
}

fn running(weight: &WeightStatistics, found: &mut Vec<String>) {
    let least = weight.quantiles[0];
    if weight.role != Role::RunningVariance {
        return;
    }
    if least < 0.0 {
        found.push(format!("a variance is negative: {least:.2e}"));
    } else if least < 1e-10 && weight.quantiles[6] > 0.0 {
        found.push(format!(
            "a variance is almost 0 ({least:.0e}): the channel before never fires, and noise in it is blown up"
        ));
    }
}

fn listed(items: impl ExactSizeIterator<Item = String>) -> String {
    let more = items.len() > NAMED;
    let text = items.take(NAMED).collect::<Vec<_>>().join(", ");
    if more { format!("{text}, …") } else { text }
}
