//! Rows of a data set with their right answers, as a model takes them: what it is measured on.

use std::path::PathBuf;
use std::sync::Arc;

use pellucid::evaluate::{Answered, Answers, Batches as Parts};
use pellucid::input::{Row, Shapes};
use pellucid::{Array, Error, Inputs, Model};
use pellucid_compile::score;
use pellucid_data::{Batches, Dataset, Part, Plan, Rows, Source, Targets, open_part};
use pellucid_graph::{Dim, ElementType, Value};

use crate::fit::{by_name, sizes};
use crate::pictures::Asked as Pictures;

/// Which rows are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// The data: a file or a folder.
    pub data: PathBuf,
    /// The part of it; without one its test part, or all of it where it has none.
    pub part: Option<Part>,
    /// Of a table the columns to predict; of an NPY file the file of targets.
    pub targets: Option<String>,
    /// The model's output that is measured; the first without it.
    pub output: Option<String>,
    /// Whether broken pictures are left out and told.
    pub skip_broken: bool,
    /// Threads that prepare rows.
    pub threads: Option<usize>,
}

/// Rows whose right answers are known.
pub struct Known {
    model: Model,
    data: Arc<Dataset>,
    input: String,
    shape: Vec<usize>,
    answers: Answers,
    threads: usize,
    /// What should be known of them.
    pub notes: Vec<String>,
}

impl Known {
    /// Opens rows for a model.
    ///
    /// # Errors
    /// Data that cannot be read; rows of other sizes than the model takes; bytes of which the model does not say how they
    /// become numbers; classes whose names are not the model's.
    pub fn open(model: &Model, asked: &Asked) -> Result<Self, Error> {
        let [input] = model.graph().inputs() else {
            return Err(Error::Model {
                place: model.name().to_owned(),
                problem: format!(
                    "it has {} inputs; a network of one is measured",
                    model.graph().inputs().len()
                ),
            });
        };
        let input = model.graph().value(*input).clone();
        if input.element != Some(ElementType::F32) {
            return Err(Error::Model {
                place: model.name().to_owned(),
                problem: format!("input {:?} takes no float32, and rows are float32", input.name),
            });
        }
        let shape: Vec<usize> = input.shape.iter().flatten().skip(1).filter_map(Dim::size).collect();
        let source = Source {
            data: asked.data.clone(),
            test: None,
            targets: asked.targets.clone(),
            shape,
            skip_broken: asked.skip_broken,
        };
        let (mut data, part, mut notes) = open_part(&source, asked.part)?;
        if part != Some(Part::Test) {
            notes.push(format!(
                "{} of {} are measured; a model looks better than it is on rows that it was trained on",
                if part.is_some() { "the rows to learn from" } else { "all rows" },
                data.name
            ));
        }
        notes.extend(by_name(model, &mut data, "give the model's names with --labels")?);
        prepare(model, &input, &mut data)?;
        let (shape, _) = sizes(&input, &data)?;
        let answers = answers(model, &data, asked.output.as_deref(), &mut notes)?;
        let threads =
            asked.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
        Ok(Self {
            model: model.clone(),
            data: Arc::new(data),
            input: input.name,
            shape,
            answers,
            threads,
            notes,
        })
    }

    fn inputs(&self, values: Vec<f32>, rows: Vec<Row>) -> Result<Inputs, Error> {
        let shape = [&[rows.len()], self.shape.as_slice()].concat();
        let array = Array::from_f32(&shape, values)
            .ok_or_else(|| Error::Internal(format!("rows do not have the sizes {shape:?}")))?;
        Inputs::new(vec![(self.input.clone(), array)], rows)
    }

    fn row(&self, place: usize, with_picture: bool) -> Row {
        let name = match &self.data.rows {
            Rows::Files(files) => {
                let parts: Vec<_> =
                    files[place].iter().rev().take(2).map(|part| part.to_string_lossy()).collect();
                parts.into_iter().rev().collect::<Vec<_>>().join("/")
            }
            _ => format!("row {place}"),
        };
        let photograph = if with_picture { self.data.photograph(place) } else { None };
        Row { name, photograph: photograph.map(Arc::new) }
    }
}

impl Answered for Known {
    fn name(&self) -> String {
        self.data.name.clone()
    }

    fn labels(&self) -> Option<&[String]> {
        self.data.labels.as_deref()
    }

    fn shapes(&self) -> Shapes {
        vec![(self.input.clone(), [&[self.data.len()], self.shape.as_slice()].concat())]
    }

    fn answers(&self) -> &Answers {
        &self.answers
    }

    fn batches(&self, rows: usize) -> Parts<'_> {
        let plan = Plan::in_order(self.data.len(), rows.max(1));
        let batches = Batches::start(Arc::clone(&self.data), plan, 0, self.threads.clamp(1, 4), 2);
        let mut first = 0;
        Box::new(batches.map(move |batch| {
            let batch = batch?;
            let named = (first..first + batch.len).map(|place| self.row(place, false)).collect();
            first += batch.len;
            self.inputs(batch.rows, named)
        }))
    }

    fn rows(&self, places: &[usize]) -> Result<Inputs, Error> {
        let fixed = self.model.inputs().next().and_then(|input| input.shape.clone());
        let fixed = fixed.and_then(|shape| shape.first().and_then(Dim::size)).is_some_and(|rows| rows != 1);
        if let (Rows::Files(files), false) = (&self.data.rows, fixed) {
            // Read as files, so that what was cut and resized is known.
            let paths: Vec<&PathBuf> = places.iter().map(|place| &files[*place]).collect();
            let read = self.model.read(&paths)?;
            let rows = read
                .rows()
                .iter()
                .zip(places)
                .map(|(row, place)| Row { photograph: row.photograph.clone(), ..self.row(*place, false) });
            return Inputs::new(read.arrays().to_vec(), rows.collect());
        }
        let size = self.data.row_len();
        let mut values = vec![0.0; places.len() * size];
        for (place, out) in places.iter().zip(values.chunks_exact_mut(size)) {
            self.data.read(*place, out)?;
        }
        self.inputs(values, places.iter().map(|place| self.row(*place, true)).collect())
    }
}

/// Bytes and files become numbers by what the model says, and by nothing else.
fn prepare(model: &Model, input: &Value, data: &mut Dataset) -> Result<(), Error> {
    if !data.is_pictures() {
        return Ok(());
    }
    let described = model.description().preprocessing.get(&input.name);
    let asked = Pictures { input, described, size: None };
    let Some(image) = described.filter(|_| asked.takes_pictures()) else {
        let what = if asked.is_flat() {
            "give the size and the numbers that it was trained with, such as --image color=gray --image resize=28x28 \
             --image range=0,1, or write them into the file beside it"
        } else if asked.takes_pictures() {
            "give the numbers that it was trained with, such as --image range=0,1 --image mean=0.5 --image std=0.5, or \
             write them into the file beside it"
        } else {
            "and it takes no pictures: give the rows as floats, in an .npz"
        };
        return Err(Error::NoPreprocessing(format!(
            "{}: {} does not say how bytes become its input {:?}; {what}",
            data.name,
            model.name(),
            input.name
        )));
    };
    let shape = asked.said(image, data)?;
    data.prepare(image, &shape)
}

/// The right answers.
fn answers(
    model: &Model,
    data: &Dataset,
    output: Option<&str>,
    notes: &mut Vec<String>,
) -> Result<Answers, Error> {
    let wrong = |problem: String| Error::Input { place: data.name.clone(), problem };
    let classes = match &data.targets {
        Targets::Numbers(numbers) => return Ok(Answers::Numbers(numbers.clone())),
        Targets::Classes(classes) => classes,
    };
    let mut known = Vec::with_capacity(classes.len());
    for (row, class) in classes.iter().enumerate() {
        let class = usize::try_from(*class)
            .map_err(|_| wrong(format!("row {row} is of class {class}, expected 0 or more")))?;
        known.push(class);
    }
    if let (Some(named), None) = (&data.labels, model.labels()) {
        let outputs = score::find(model.graph(), output)?.classes;
        if outputs.is_some_and(|outputs| outputs != named.len()) {
            return Err(wrong(format!(
                "it has {} classes by name, and {} gives {} and names none: say which is which with --labels",
                named.len(),
                model.name(),
                outputs.unwrap_or(1)
            )));
        }
        notes.push(format!("{} names no classes: those of the data are taken in their order", model.name()));
    }
    Ok(Answers::Classes(known))
}
