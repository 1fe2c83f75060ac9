//! The numbers of an explanation in words: how they are written, and how far they can be trusted.

use indicatif::{HumanBytes, HumanCount};

use crate::attribution::{Attribution, Explained, Explanation, Target, Unit};

/// A number for people: four significant digits, a real minus sign.
pub fn number(value: f32) -> String {
    let size = value.abs();
    let text = if !value.is_finite() {
        return value.to_string();
    } else if size == 0.0 {
        "0".to_owned()
    } else if !(1e-3..1e6).contains(&size) {
        // Such as 1.2e-5, the exponent's sign made readable below.
        let text = format!("{size:.2e}");
        text.replace(".00e", "e")
    } else {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 6")]
        let decimals = (3.0 - size.log10().floor()).clamp(0.0, 6.0) as usize;
        let text = format!("{size:.decimals$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    };
    let text = text.replace("e-", "e−");
    if value < 0.0 { format!("−{text}") } else { text }
}

/// A count for people: 25,557,032.
pub fn count(count: u64) -> String {
    HumanCount(count).to_string()
}

/// A number of bytes for people: 97.7 MiB.
pub fn bytes(bytes: u64) -> String {
    HumanBytes(bytes).to_string()
}

/// A part of a whole as a percentage: `38.2 %`, `under 0.1 %`.
pub fn percent(part: f32) -> String {
    let percent = part * 100.0;
    if !percent.is_finite() {
        "–".to_owned()
    } else if percent == 0.0 {
        "0 %".to_owned()
    } else if percent < 0.1 {
        "under 0.1 %".to_owned()
    } else if (99.95..100.0).contains(&percent) {
        "over 99.9 %".to_owned()
    } else if percent < 10.0 || (percent > 99.0 && percent < 100.0) {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

/// A number as the functions here take it: rounded, and what is beyond the range as infinity.
#[expect(clippy::cast_possible_truncation, reason = "documented: rounded")]
pub fn to_f32(value: f64) -> f32 {
    value as f32
}

/// How far the numbers of an explanation can be trusted as the method's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trust {
    /// Every check passed closely.
    Good,
    /// A check passed roughly.
    Fair,
    /// A check failed.
    Poor,
    /// The method has nothing to check.
    Unchecked,
}

impl Trust {
    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Fair => "fair",
            Self::Poor => "poor",
            Self::Unchecked => "unchecked",
        }
    }
}

/// A verdict on one row's attribution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The verdict.
    pub trust: Trust,
    /// It in one short sentence.
    pub headline: String,
    /// Its reasons, a sentence each.
    pub reasons: Vec<String>,
}

/// Relative errors up to here are small, and up to here tolerable: for the gap, the quadrature and the sampling.
const GAP: (f32, f32) = (0.01, 0.05);
const QUADRATURE: (f32, f32) = (0.05, 0.20);
const SAMPLING: (f32, f32) = (0.10, 0.30);

fn grade(relative: f32, (small, tolerable): (f32, f32)) -> Trust {
    if relative <= small {
        Trust::Good
    } else if relative <= tolerable {
        Trust::Fair
    } else {
        Trust::Poor
    }
}

/// Σ |value| of one row over every input.
pub(super) fn total(attribution: &Attribution, row: usize) -> f32 {
    let total = (0..attribution.values.len())
        .map(|index| attribution.row(index, row).iter().map(|value| f64::from(value.abs())).sum::<f64>())
        .sum::<f64>()
        .min(f64::from(f32::MAX));
    #[expect(clippy::cast_possible_truncation, reason = "for people, and within range")]
    let total = total as f32;
    total
}

/// Whether a row's values and its gap are the score.
fn sums_to_score(attribution: &Attribution, row: usize, gap: f32) -> bool {
    let sum: f64 = (0..attribution.values.len())
        .map(|index| attribution.row(index, row).iter().copied().map(f64::from).sum::<f64>())
        .sum();
    let score = f64::from(attribution.score[row]);
    (sum + f64::from(gap) - score).abs() <= 1e-3 * score.abs()
}

/// What the checks of an attribution say about one row.
pub fn verdict(explained: &Explained, row: usize) -> Verdict {
    let attribution = &explained.attribution;
    let total = total(attribution, row);
    let unit = unit(attribution.unit);
    let mut trust = None;
    let mut reasons = Vec::new();
    let mut graded = |found: Trust| trust = Some(trust.map_or(found, |known: Trust| known.max(found)));
    if let Some(gap) = attribution.gap.as_ref().map(|gap| gap[row]) {
        let change =
            attribution.baseline_score.as_ref().map(|baseline| attribution.score[row] - baseline[row]);
        let whole_score = attribution.score[row].abs();
        // Where the score hardly changes, its change is no measure of anything.
        let change = change.map(f32::abs).filter(|change| *change > 1e-3 * total);
        let (whole, of) = match (change, &attribution.baseline_score) {
            (Some(change), _) => (
                change,
                format!("the {} by which the score differs from the baseline's", quantity(change, unit)),
            ),
            // Of terms that sum to the score itself the map need not be in its unit.
            (None, None) if whole_score > 0.0 => {
                (whole_score, format!("the {} of the score", quantity(whole_score, unit)))
            }
            _ => (total, format!("{}, the sum of the attributions' sizes", quantity(total, unit))),
        };
        let relative = part(gap, whole);
        if attribution.relevance {
            let (what, verb) = if (gap > 0.0) == (attribution.score[row] > 0.0) {
                ("lost", "to biases, stabilisers and rules that do not conserve")
            } else {
                ("made", "by biases and rules that do not conserve")
            };
            reasons.push(format!(
                "Of {of}, relevance of {} ({}) was {what} on the way {verb}; coverage with the input says where.",
                number(gap),
                percent(relative),
            ));
        }
        // Of a map that is made of more than sums, the gap says whether all terms were found, not what its sizes are.
        let sums = attribution.baseline_score.is_some() || sums_to_score(attribution, row, gap);
        if sums && !attribution.relevance {
            graded(grade(relative, GAP));
        }
        let what = if sums { "The attributions" } else { "The terms that the map is made of" };
        if !attribution.relevance {
            reasons.push(format!(
                "{what} miss {} of {of}: {} (the completeness gap).",
                percent(relative),
                number(gap)
            ));
        }
    }
    if let Some(error) = attribution.quadrature_error.as_ref().map(|error| error[row]) {
        let relative = part(error, total);
        graded(grade(relative, QUADRATURE));
        reasons.push(format!(
            "Evaluating the path at twice as many points would move them by about {} of their total size (the \
             quadrature error); unlike the gap, this cannot hide errors that cancel.",
            percent(relative)
        ));
    }
    if let Some(errors) = &attribution.std_error {
        let of_row = |error: &ndarray::ArrayD<f32>| error.index_axis(ndarray::Axis(0), row).sum();
        let error: f32 = errors.iter().map(of_row).sum();
        let relative = part(error, total);
        graded(grade(relative, SAMPLING));
        reasons.push(format!(
            "Drawing other samples would move them by about {} of their total size (the standard error).",
            percent(relative)
        ));
    }
    let trust = if total == 0.0 { Trust::Poor } else { trust.unwrap_or(Trust::Unchecked) };
    let headline = match trust {
        _ if total == 0.0 => "Every attribution is zero: the score does not depend on this input.",
        Trust::Good => "Computed closely: compare the sizes of values with confidence.",
        Trust::Fair => "Computed roughly: trust strong regions and signs, not single values.",
        Trust::Poor => {
            "Computed poorly: do not rely on it; lower the tolerance, or raise the number of steps or samples."
        }
        Trust::Unchecked => "Nothing to check: read it as where to look, not as how much.",
    };
    if trust == Trust::Unchecked {
        reasons.push(
            "This method promises no sum that its values could be held against, and no error of its own."
                .to_owned(),
        );
    }
    Verdict { trust, headline: headline.to_owned(), reasons }
}

fn part(of: f32, whole: f32) -> f32 {
    if of == 0.0 { 0.0 } else { (of / whole).abs() }
}

/// The noun of a unit.
pub(super) fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Logit => "logits",
        Unit::Probability => "of probability",
        Unit::Raw => "",
    }
}

fn quantity(value: f32, unit: &str) -> String {
    format!("{} {unit}", number(value)).trim_end().to_owned()
}

/// A score as it is told: `9.83 logits`.
pub(super) fn score(attribution: &Attribution, row: usize) -> String {
    quantity(attribution.score[row], unit(attribution.unit))
}

/// Gap, quadrature error and score in one line; what a method does not have is left out.
pub fn summary(explained: &Explained, row: usize) -> String {
    let attribution = &explained.attribution;
    let mut parts = vec![format!("score {}", score(attribution, row))];
    if let Some(baseline) = &attribution.baseline_score {
        parts.push(format!("baseline {}", number(baseline[row])));
    }
    if let Some(gap) = &attribution.gap {
        let what = if attribution.relevance { "relevance lost" } else { "gap" };
        parts.push(format!("{what} {}", number(gap[row])));
    }
    if let Some(error) = &attribution.quadrature_error {
        let share = percent(part(error[row], total(attribution, row)));
        parts.push(format!("quadrature error {} ({share} of all values)", number(error[row])));
    }
    parts.join(" · ")
}

/// The largest gap of a row as a part of the score's change from the baseline, or of the score where there is none:
/// `0.8 %`; a dash of methods without a gap.
pub(super) fn gap_share(explanation: &Explanation) -> String {
    let attribution = &explanation.explained[0].attribution;
    let Some(gap) = &attribution.gap else { return "–".to_owned() };
    let baseline = |row: usize| attribution.baseline_score.as_ref().map_or(0.0, |scores| scores[row]);
    let share = |row: usize| part(gap[row], attribution.score[row] - baseline(row));
    percent((0..attribution.rows()).map(share).fold(0.0, f32::max))
}

/// What the ends of the colours say.
pub(super) fn ends(target: &Target) -> (String, String) {
    match &target.minus {
        Some(other) => (format!("for {other}"), format!("for {}", Target { minus: None, ..target.clone() })),
        None => (format!("against {target}"), format!("for {target}")),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array1, ArrayD, IxDyn, array};

    use super::*;

    #[test]
    fn numbers_read_well() {
        for (value, text) in [
            (0.0, "0"),
            (9.827_41, "9.827"),
            (-0.012_345, "−0.01235"),
            (1234.56, "1235"),
            (2.0, "2"),
            (0.000_012, "1.20e−5"),
            (-1.0e9, "−1e9"),
            (100.0, "100"),
            (f32::NAN, "NaN"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn percentages_read_well() {
        for (part, text) in [
            (0.0, "0 %"),
            (0.000_1, "under 0.1 %"),
            (0.012_3, "1.2 %"),
            (0.382, "38 %"),
            (0.995, "99.5 %"),
            (0.999_9, "over 99.9 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(percent(part), text, "{part}");
        }
    }

    fn explained(gap: Option<f32>, error: Option<f32>) -> Explained {
        let one = |value: f32| Array1::from_elem(1, value);
        Explained {
            targets: vec![Target { index: 3, label: Some("cat".into()), minus: None, neuron: None }],
            attribution: Attribution {
                values: vec![("x".into(), array![[3.0, -1.0]].into_dyn())],
                score: array![2.5],
                unit: Unit::Logit,
                baseline_score: gap.map(|_| one(0.5)),
                gap: gap.map(one),
                quadrature_error: error.map(one),
                relevance: false,
                gap_std_error: None,
                std_error: None,
                repeated: Vec::new(),
                evaluations: 1,
            },
        }
    }

    #[test]
    fn the_verdict_is_that_of_the_worst_check() {
        for (gap, error, trust) in [
            (Some(0.001), Some(0.1), Trust::Good),
            (Some(0.05), Some(0.1), Trust::Fair),
            (Some(0.001), Some(3.0), Trust::Poor),
            (Some(-1.0), None, Trust::Poor),
            (None, Some(0.5), Trust::Fair),
            (None, None, Trust::Unchecked),
        ] {
            assert_eq!(verdict(&explained(gap, error), 0).trust, trust, "{gap:?} {error:?}");
        }
        let mut zero = explained(Some(2.0), None);
        zero.attribution.values[0].1 = ArrayD::zeros(IxDyn(&[1, 2]));
        assert_eq!(
            verdict(&zero, 0).headline,
            "Every attribution is zero: the score does not depend on this input."
        );
    }

    #[test]
    fn the_gap_of_a_map_of_magnitudes_does_not_vouch_for_its_sizes() {
        let mut signed = explained(Some(0.01), None);
        signed.attribution.baseline_score = None;
        signed.attribution.values[0].1 = array![[3.0, -0.51]].into_dyn();
        let told = verdict(&signed, 0);
        assert_eq!(told.trust, Trust::Good);
        assert_eq!(
            told.reasons,
            ["The attributions miss 0.4 % of the 2.5 logits of the score: 0.01 (the completeness gap)."]
        );
        signed.attribution.values[0].1 = array![[30.0, 5.1]].into_dyn();
        let told = verdict(&signed, 0);
        assert_eq!(told.trust, Trust::Unchecked);
        assert!(told.reasons[0].starts_with("The terms that the map is made of miss 0.4 %"), "{told:?}");
    }

    #[test]
    fn the_reasons_tell_gap_and_error_in_words() {
        assert_eq!(
            verdict(&explained(Some(-0.02), Some(0.1)), 0).reasons,
            [
                "The attributions miss 1.0 % of the 2 logits by which the score differs from the baseline's: −0.02 \
                 (the completeness gap).",
                "Evaluating the path at twice as many points would move them by about 2.5 % of their total size (the \
                 quadrature error); unlike the gap, this cannot hide errors that cancel.",
            ]
        );
        assert_eq!(
            summary(&explained(Some(-0.02), Some(0.1)), 0),
            "score 2.5 logits · baseline 0.5 · gap −0.02 · quadrature error 0.1 (2.5 % of all values)"
        );
        assert_eq!(summary(&explained(None, None), 0), "score 2.5 logits");
    }
}
