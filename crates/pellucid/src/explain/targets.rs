//! What is explained of each row: one class, or one less another.

use pellucid_compile::Target as Compiled;

use super::explainer::Place;
use crate::attribution::{Prediction, Target};
use crate::error::Error;
use crate::labels::Labels;
use crate::model::Model;

/// Which class of each row is explained.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum TargetChoice {
    /// The one with the highest score.
    #[default]
    Top,
    /// The one of this rank by its score, 0 being the highest; of equal scores the lower class comes first.
    Rank(usize),
    /// So many classes with the highest scores: a target each.
    TopK(usize),
    /// The class at an index.
    Index(usize),
    /// The class of this label.
    Label(String),
    /// The score of one class less that of another.
    Contrast(Box<TargetChoice>, Box<TargetChoice>),
    /// A class for each row.
    Rows(Vec<usize>),
}

impl TargetChoice {
    /// `top1`, `top3`, an index, two indices joined by a dash, or else a label. [`TargetChoice::list`] also knows
    /// contrasts of labels.
    pub fn parse(text: &str) -> Self {
        Self::one(text, None)
    }

    /// Choices separated by commas, by a model's labels where it has some. A label may hold commas and dashes itself:
    /// as much text as is a label is taken for one, and quotes enclose one.
    pub fn list(text: &str, labels: Option<&Labels>) -> Vec<Self> {
        let parts = split(text, ',');
        let mut choices = Vec::new();
        let mut next = 0;
        while next < parts.len() {
            // The most parts that are a label together, else one part.
            let together = (next + 1..=parts.len())
                .rev()
                .find(|end| *end == next + 1 || is_label(parts[next..*end].join(",").trim(), labels));
            let end = together.unwrap_or(next + 1);
            choices.push(Self::one(&parts[next..end].join(","), labels));
            next = end;
        }
        choices
    }

    fn one(text: &str, labels: Option<&Labels>) -> Self {
        let text = text.trim();
        if is_label(text, labels) {
            return Self::Label(text.to_owned());
        }
        if let Some(one) = Self::simple(text) {
            return one;
        }
        // A dash may stand in a label: each is tried, those of indices first.
        let dashes: Vec<usize> = dashes(text).collect();
        let side = |side: &str| {
            let side = side.trim();
            is_label(side, labels)
                .then(|| Self::Label(side.to_owned()))
                .or_else(|| Self::simple(side).filter(|side| !matches!(side, Self::TopK(_))))
        };
        for dash in &dashes {
            if let (Some(of), Some(minus)) = (side(&text[..*dash]), side(&text[dash + 1..])) {
                return Self::Contrast(Box::new(of), Box::new(minus));
            }
        }
        Self::Label(text.to_owned())
    }

    /// What needs no labels: a rank, an index, a label in quotes.
    fn simple(text: &str) -> Option<Self> {
        let quoted = |quote: char| text.strip_prefix(quote)?.strip_suffix(quote);
        if let Some(label) = quoted('"').or_else(|| quoted('\'')).filter(|label| !label.is_empty()) {
            return Some(Self::Label(label.to_owned()));
        }
        match text.strip_prefix("top").map(str::parse) {
            Some(Ok(1)) => Some(Self::Top),
            Some(Ok(count)) => Some(Self::TopK(count)),
            _ => text.parse().ok().map(Self::Index),
        }
    }

    /// The same, one choice a target.
    pub(crate) fn expanded(&self) -> Vec<Self> {
        match self {
            Self::TopK(count) => (0..*count).map(Self::Rank).collect(),
            other => vec![other.clone()],
        }
    }

    /// Whether the model must be run before it is known which class is meant.
    pub(crate) fn needs_scores(&self) -> bool {
        match self {
            Self::Top | Self::Rank(_) | Self::TopK(_) => true,
            Self::Contrast(of, minus) => of.needs_scores() || minus.needs_scores(),
            Self::Index(_) | Self::Label(_) | Self::Rows(_) => false,
        }
    }

    /// Its rank by the scores, where it is one class of a rank.
    pub(crate) fn rank(&self) -> Option<usize> {
        match self {
            Self::Top => Some(0),
            Self::Rank(rank) => Some(*rank),
            _ => None,
        }
    }

    /// Whether it is one score less another.
    pub(crate) fn is_contrast(&self) -> bool {
        matches!(self, Self::Contrast(..))
    }

    /// Finds labels that do not exist, before anything runs.
    pub(crate) fn check(&self, model: &Model) -> Result<(), Error> {
        match self {
            Self::Label(label) => model.class(label).map(|_| ()),
            Self::Contrast(of, minus) => of.check(model).and_then(|()| minus.check(model)),
            Self::TopK(0) => Err(wrong("top0 is no class: give top1 or more".to_owned())),
            _ => Ok(()),
        }
    }

    /// The target in a compiled file, where it is the same for every row or follows from its scores.
    pub(crate) fn compiled(&self, model: &Model) -> Result<Compiled, Error> {
        let fixed = |choice: &Self| match choice {
            Self::Index(index) => Ok(*index),
            Self::Label(label) => model.class(label),
            _ => {
                Err(wrong("a contrast in a file is of two fixed classes: give indices or labels".to_owned()))
            }
        };
        match self {
            Self::Top => Ok(Compiled::Rank(0)),
            Self::Rank(rank) => Ok(Compiled::Rank(*rank)),
            Self::Index(_) | Self::Label(_) => fixed(self).map(Compiled::Index),
            Self::Contrast(of, minus) => Ok(Compiled::Contrast { of: fixed(of)?, minus: fixed(minus)? }),
            Self::TopK(_) | Self::Rows(_) => {
                Err(wrong("a file has fixed classes, or takes a class as an input: leave it out".to_owned()))
            }
        }
    }
}

fn wrong(problem: String) -> Error {
    Error::Setting { name: "target".to_owned(), problem }
}

fn is_label(text: &str, labels: Option<&Labels>) -> bool {
    labels.is_some_and(|labels| labels.find(text).is_ok())
}

/// Positions of dashes outside of quotes.
fn dashes(text: &str) -> impl Iterator<Item = usize> {
    outside_quotes(text).filter(|(_, c)| *c == '-').map(|(at, _)| at)
}

/// Characters outside of double quotes, with their positions.
fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, char)> {
    text.char_indices()
        .scan(false, |inside, (at, c)| {
            *inside ^= c == '"';
            Some((at, c, *inside))
        })
        .filter(|(_, c, inside)| !*inside && *c != '"')
        .map(|(at, c, _)| (at, c))
}

/// Parts between separators outside of quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut start = 0;
    for (at, _) in outside_quotes(text).filter(|(_, c)| *c == separator) {
        parts.push(&text[start..at]);
        start = at + separator.len_utf8();
    }
    parts.push(&text[start..]);
    parts
}

/// What is explained of one row, by classes' positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aim {
    /// The class; 0 where the model has one number a row.
    pub(crate) of: usize,
    /// The class whose score is taken away.
    pub(crate) minus: Option<usize>,
}

impl Aim {
    /// The same with labels.
    pub(crate) fn named(self, labels: Option<&Labels>) -> Target {
        let target = Target::new(self.of, labels);
        match self.minus {
            Some(minus) => target.minus(Target::new(minus, labels)),
            None => target,
        }
    }

    /// Its score among those of a row's classes.
    pub(crate) fn score(self, row: &ndarray::ArrayView1<'_, f32>) -> f32 {
        let of = |class: usize| row.get(class).copied().unwrap_or(f32::NAN);
        self.minus.map_or_else(|| of(self.of), |minus| of(self.of) - of(minus))
    }
}

/// The class of each row, and the class that is taken away; −1 for none.
pub(crate) fn target_classes(
    model: &Model,
    prediction: &Prediction,
    choice: &TargetChoice,
    place: Place,
) -> Result<(Vec<i64>, Vec<i64>), Error> {
    let classes = prediction.scores.ncols();
    let count = (classes > 1).then_some(classes);
    let number = |class: usize| i64::try_from(class).unwrap_or(i64::MAX);
    let aims = aims(model, prediction, choice, count, place)?;
    Ok((
        aims.iter().map(|aim| number(aim.of)).collect(),
        aims.iter().map(|aim| aim.minus.map_or(-1, number)).collect(),
    ))
}

/// What is explained of each row.
pub(crate) fn aims(
    model: &Model,
    prediction: &Prediction,
    choice: &TargetChoice,
    count: Option<usize>,
    place: Place,
) -> Result<Vec<Aim>, Error> {
    if let TargetChoice::Contrast(of, minus) = choice {
        if count.is_none() {
            return Err(wrong(
                "a contrast needs two classes, and the model has one number a row: leave the target out"
                    .to_owned(),
            ));
        }
        let of = classes(model, prediction, of, count, place)?;
        let minus = classes(model, prediction, minus, count, place)?;
        return Ok(of.into_iter().zip(minus).map(|(of, minus)| Aim { of, minus: Some(minus) }).collect());
    }
    let of = classes(model, prediction, choice, count, place)?;
    Ok(of.into_iter().map(|of| Aim { of, minus: None }).collect())
}

/// The class of each row.
fn classes(
    model: &Model,
    prediction: &Prediction,
    choice: &TargetChoice,
    count: Option<usize>,
    place: Place,
) -> Result<Vec<usize>, Error> {
    let rows = prediction.scores.nrows();
    let count = count.unwrap_or(1);
    let checked = |class: usize| {
        if class < count {
            return Ok(class);
        }
        Err(wrong(format!(
            "class {class} does not exist: the model has {count}, 0 to {}",
            count.saturating_sub(1)
        )))
    };
    match choice {
        TargetChoice::Top => ranked(prediction, 0, count),
        TargetChoice::Rank(rank) => ranked(prediction, *rank, count),
        TargetChoice::Index(class) => checked(*class).map(|class| vec![class; rows]),
        TargetChoice::Label(label) => Ok(vec![checked(model.class(label)?)?; rows]),
        TargetChoice::Rows(classes) if classes.len() == place.all => {
            classes[place.first..place.first + rows].iter().map(|class| checked(*class)).collect()
        }
        TargetChoice::Rows(classes) => {
            Err(wrong(format!("{} classes were given for {} rows", classes.len(), place.all)))
        }
        TargetChoice::TopK(_) | TargetChoice::Contrast(..) => {
            Err(Error::Internal("several classes stand for one".to_owned()))
        }
    }
}

/// Each row's class of a rank, by the scores explained, not by probabilities: their order is the same.
fn ranked(prediction: &Prediction, rank: usize, count: usize) -> Result<Vec<usize>, Error> {
    if rank >= count {
        return Err(wrong(format!("top{} does not exist: the model has {count} classes", rank + 1)));
    }
    Ok(prediction
        .scores
        .rows()
        .into_iter()
        .map(|scores| {
            let score = |class: usize| if scores[class].is_nan() { f32::NEG_INFINITY } else { scores[class] };
            let mut order: Vec<usize> = (0..count.min(scores.len())).collect();
            // Zeros of both signs are equal; the sort keeps the classes' order among equals.
            order.sort_by(|a, b| score(*b).partial_cmp(&score(*a)).unwrap_or(std::cmp::Ordering::Equal));
            order.get(rank).copied().unwrap_or_default()
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        Labels::new(["tabby, tabby cat", "tiger cat", "T-shirt", "cat", "short-haired cat"]).unwrap()
    }

    fn label(text: &str) -> TargetChoice {
        TargetChoice::Label(text.to_owned())
    }

    fn contrast(of: TargetChoice, minus: TargetChoice) -> TargetChoice {
        TargetChoice::Contrast(Box::new(of), Box::new(minus))
    }

    #[test]
    fn a_list_of_indices_ranks_and_contrasts() {
        let parse = |text: &str| TargetChoice::list(text, None);
        assert_eq!(parse("top1"), [TargetChoice::Top]);
        assert_eq!(parse("top3,7"), [TargetChoice::TopK(3), TargetChoice::Index(7)]);
        assert_eq!(
            parse("281-282, 3"),
            [contrast(TargetChoice::Index(281), TargetChoice::Index(282)), TargetChoice::Index(3)]
        );
        assert_eq!(parse("top1-5"), [contrast(TargetChoice::Top, TargetChoice::Index(5))]);
        assert_eq!(parse("cat"), [label("cat")]);
        assert_eq!(TargetChoice::TopK(2).expanded(), [TargetChoice::Rank(0), TargetChoice::Rank(1)]);
    }

    #[test]
    fn labels_with_commas_and_dashes_are_labels_first() {
        let labels = labels();
        let parse = |text: &str| TargetChoice::list(text, Some(&labels));
        assert_eq!(parse("tabby, tabby cat"), [label("tabby, tabby cat")]);
        assert_eq!(parse("tabby, tabby cat,T-shirt"), [label("tabby, tabby cat"), label("T-shirt")]);
        assert_eq!(parse("short-haired cat"), [label("short-haired cat")]);
        assert_eq!(parse("tabby-\"tiger cat\""), [contrast(label("tabby"), label("tiger cat"))]);
        assert_eq!(parse("tiger cat-cat"), [contrast(label("tiger cat"), label("cat"))]);
        assert_eq!(
            parse("short-haired cat-T-shirt"),
            [contrast(label("short-haired cat"), label("T-shirt"))]
        );
        assert_eq!(
            parse("\"tabby, tabby cat\"-3"),
            [contrast(label("tabby, tabby cat"), TargetChoice::Index(3))]
        );
        assert_eq!(parse("dog-cat"), [label("dog-cat")]);
    }

    #[test]
    fn ranks_follow_the_scores_and_equal_ones_the_classes() {
        let scores = ndarray::array![[0.5, 2.0, 2.0, f32::NEG_INFINITY]];
        let prediction = Prediction::new(vec![], scores, pellucid_compile::Unit::Logit, None);
        let at = |rank| ranked(&prediction, rank, 4).unwrap()[0];
        assert_eq!([at(0), at(1), at(2), at(3)], [1, 2, 0, 3]);
        assert_eq!(
            ranked(&prediction, 4, 4).unwrap_err().to_string(),
            "target: top5 does not exist: the model has 4 classes"
        );
    }
}
