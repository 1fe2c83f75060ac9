//! What a model is judged by while it is looked at: a score, or the right answers.

use std::ops::Range;
use std::path::Path;

use ndarray::{ArrayD, IxDyn};
use pellucid_compile::{Answers, Objective};

use crate::array::Array;
use crate::error::Error;
use crate::explain::TargetChoice;
use crate::model::Model;
use crate::npy;

/// What a model is judged by: errors are derivatives of it.
#[derive(Debug, Clone, Default)]
pub enum Judge {
    /// Nothing: there are no errors.
    #[default]
    Nothing,
    /// The score of a class: the error of a value is ∂score/∂value.
    Target(TargetChoice),
    /// The loss against the right answers: the error of a value is ∂loss/∂value, of each row's own loss. The loss is
    /// −log `softmax(logits)[label]`, or, of a model of one number a row, the square of the difference.
    Loss(RightAnswers),
}

/// The right answer of every row.
#[derive(Debug, Clone)]
pub enum RightAnswers {
    /// Indices, labels or numbers as a person writes them: one for all rows, or one a row.
    Text(Vec<String>),
    /// The right class of each row.
    Classes(Vec<i64>),
    /// The right number of each row.
    Numbers(Vec<f32>),
}

impl RightAnswers {
    /// Reads what `text` says: a `.npy` or `.npz` file of one array, `[n]`; or answers separated by commas.
    ///
    /// # Errors
    /// Files that cannot be read, or are not of one answer a row.
    pub fn parse(text: &str, model: &Model) -> Result<Self, Error> {
        let path = Path::new(text);
        let is_file = path.extension().is_some_and(|ending| ending == "npy" || ending == "npz");
        if !is_file {
            if model.labels().is_some_and(|labels| labels.find(text).is_ok()) {
                return Ok(Self::Text(vec![text.trim().to_owned()]));
            }
            return Ok(Self::Text(text.split(',').map(|part| part.trim().to_owned()).collect()));
        }
        let arrays = npy::read_arrays(path)?;
        let [(_, array)] = arrays.as_slice() else {
            return Err(Error::input(text, format!("{} arrays found, expected one", arrays.len())));
        };
        if array.len() != array.shape().first().copied().unwrap_or(0) {
            return Err(Error::input(
                text,
                format!(
                    "shape {} found, expected an answer for each row, [n]",
                    npy::shape_text(array.shape())
                ),
            ));
        }
        Ok(match array {
            Array::I64(classes) => Self::Classes(classes.iter().copied().collect()),
            other => Self::Numbers(other.to_f32().iter().copied().collect()),
        })
    }
}

impl Judge {
    /// The same for one row of `rows`: its own answer, where each row has one.
    #[must_use]
    pub fn of_row(&self, row: usize, rows: usize) -> Self {
        let Self::Loss(answers) = self else { return self.clone() };
        let one = |count: usize| count == rows && row < count;
        Self::Loss(match answers {
            RightAnswers::Text(texts) if one(texts.len()) => RightAnswers::Text(vec![texts[row].clone()]),
            RightAnswers::Classes(classes) if one(classes.len()) => RightAnswers::Classes(vec![classes[row]]),
            RightAnswers::Numbers(numbers) if one(numbers.len()) => RightAnswers::Numbers(vec![numbers[row]]),
            other => other.clone(),
        })
    }

    /// What is compiled; `None` where nothing is judged.
    pub(crate) fn objective(&self, model: &Model) -> Result<Option<Objective>, Error> {
        match self {
            Self::Nothing => Ok(None),
            Self::Target(choice) => Ok(Some(Objective::Score(choice.compiled(model)?))),
            Self::Loss(_) => Ok(Some(Objective::Loss)),
        }
    }
}

/// Right answers that fit a model.
#[derive(Debug, Clone)]
pub(crate) enum Resolved {
    Class(i64),
    Classes(Vec<i64>),
    Number(f32),
    Numbers(Vec<f32>),
}

fn wrong(problem: String) -> Error {
    Error::Setting { name: "label".to_owned(), problem }
}

impl Resolved {
    /// The answers of `rows` rows, as `wanted` takes them.
    pub(crate) fn new(
        answers: &RightAnswers,
        model: &Model,
        wanted: Answers,
        rows: usize,
    ) -> Result<Self, Error> {
        let counted = |count: usize| {
            if count == rows {
                return Ok(());
            }
            Err(wrong(format!("{count} answers found for {rows} rows; give one for each, or one for all")))
        };
        match (answers, wanted) {
            (RightAnswers::Text(texts), Answers::Classes(classes)) => {
                let class = |text: &String| {
                    let class = text.parse().map_or_else(|_| model.class(text), Ok)?;
                    within(i64::try_from(class).unwrap_or(i64::MAX), classes)
                };
                let found = texts.iter().map(class).collect::<Result<Vec<_>, _>>()?;
                if let [only] = found.as_slice() {
                    return Ok(Self::Class(*only));
                }
                counted(found.len())?;
                Ok(Self::Classes(found))
            }
            (RightAnswers::Text(texts), Answers::Numbers) => {
                let number = |text: &String| {
                    let found = text.parse::<f32>().ok().filter(|number| number.is_finite());
                    found.ok_or_else(|| {
                        wrong(format!("{text:?} found, expected a number: the model gives one a row"))
                    })
                };
                let found = texts.iter().map(number).collect::<Result<Vec<_>, _>>()?;
                if let [only] = found.as_slice() {
                    return Ok(Self::Number(*only));
                }
                counted(found.len())?;
                Ok(Self::Numbers(found))
            }
            (RightAnswers::Classes(found), Answers::Classes(classes)) => {
                counted(found.len())?;
                found.iter().try_for_each(|class| within(*class, classes).map(|_| ()))?;
                Ok(Self::Classes(found.clone()))
            }
            (RightAnswers::Classes(found), Answers::Numbers) => {
                counted(found.len())?;
                Ok(Self::Numbers(found.iter().map(|class| *class as f32).collect()))
            }
            (RightAnswers::Numbers(found), Answers::Numbers) => {
                counted(found.len())?;
                Ok(Self::Numbers(found.clone()))
            }
            (RightAnswers::Numbers(_), Answers::Classes(classes)) => Err(wrong(format!(
                "fractions found, expected whole numbers: the model has {classes} classes; convert them with \
                 .astype(\"int64\")"
            ))),
        }
    }

    /// The class of a row.
    pub(crate) fn class(&self, row: usize) -> Option<i64> {
        match self {
            Self::Class(class) => Some(*class),
            Self::Classes(classes) => classes.get(row).copied(),
            Self::Number(_) | Self::Numbers(_) => None,
        }
    }

    /// The answers of some rows, with as many axes as `rank`.
    pub(crate) fn rows(&self, rows: Range<usize>, rank: usize) -> Result<Array, Error> {
        let count = rows.len();
        let mut shape = vec![1; rank.max(1)];
        shape[0] = count;
        let broken = |error: ndarray::ShapeError| Error::Internal(error.to_string());
        let floats =
            |values: Vec<f32>| ArrayD::from_shape_vec(IxDyn(&shape), values).map(Array::F32).map_err(broken);
        let classes = |values: Vec<i64>| {
            ArrayD::from_shape_vec(IxDyn(&[count]), values).map(Array::I64).map_err(broken)
        };
        match self {
            Self::Class(class) => classes(vec![*class; count]),
            Self::Classes(all) => classes(all[rows].to_vec()),
            Self::Number(number) => floats(vec![*number; count]),
            Self::Numbers(all) => floats(all[rows].to_vec()),
        }
    }
}

fn within(class: i64, classes: usize) -> Result<i64, Error> {
    if usize::try_from(class).is_ok_and(|class| class < classes) {
        return Ok(class);
    }
    Err(wrong(format!(
        "class {class} does not exist: the model has {classes}, 0 to {}",
        classes.saturating_sub(1)
    )))
}
