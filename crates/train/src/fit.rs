//! Model and data brought together: whose rows are fed to which input, and how bytes become its numbers.

use std::collections::BTreeMap;

use pellucid::description::Description;
use pellucid::preprocessing::ImageInput;
use pellucid::{Error, Labels, Model};
use pellucid_compile::score;
use pellucid_compile::training::untied;
use pellucid_data::{Dataset, Rows, Source, Targets, open, split};
use pellucid_graph::{Dim, ElementType, Graph, Value, display_shape};

use crate::pictures::Asked;
use crate::settings::{ClassWeights, LossName, Settings};

/// What is trained, on what.
pub(crate) struct Fitted {
    /// The model, every layer with weights of its own.
    pub(crate) graph: Graph,
    /// Name of the input that takes the rows.
    pub(crate) input: String,
    /// Sizes of a row of that input.
    pub(crate) shape: Vec<usize>,
    /// Sizes of pictures as they are held, channels first; none for picture files, `None` for rows that are no pictures.
    pub(crate) stored: Option<Vec<usize>>,
    /// Sizes that the data gives to the input's symbols, the number of rows left out.
    pub(crate) sizes: BTreeMap<String, i64>,
    /// The symbol of the number of rows; `None` where it is fixed.
    pub(crate) rows: Option<String>,
    /// Rows to learn from.
    pub(crate) train: Dataset,
    /// Rows held out.
    pub(crate) validation: Option<Dataset>,
    /// Rows to measure on in the end.
    pub(crate) test: Option<Dataset>,
    /// What is minimised.
    pub(crate) loss: LossName,
    /// Classes, or outputs.
    pub(crate) outputs: usize,
    /// How the trained model is to be used.
    pub(crate) description: Description,
    /// What should be known.
    pub(crate) notes: Vec<String>,
}

/// Opens the data, and says how it is fed to the model.
pub(crate) fn fit(model: &Model, settings: &Settings) -> Result<Fitted, Error> {
    let mut notes = Vec::new();
    let untied = untied(model.graph(), settings.sharing())?;
    for (name, copies) in &untied.separated {
        notes.push(format!(
            "the file holds {name} once for several layers: {} more got weights of their own",
            copies.len()
        ));
    }
    for name in &untied.shared {
        notes.push(format!("layers share {name}: it stays one weight"));
    }
    let graph = untied.graph;
    let [input] = graph.inputs() else {
        return Err(Error::Model {
            place: model.name().to_owned(),
            problem: format!("it has {} inputs; a network of one is trained", graph.inputs().len()),
        });
    };
    let input = graph.value(*input).clone();
    if input.element != Some(ElementType::F32) {
        return Err(Error::Model {
            place: model.name().to_owned(),
            problem: format!("input {:?} takes no float32, and rows are float32", input.name),
        });
    }
    let wanted = input.shape.clone().unwrap_or_default();
    let known: Vec<usize> = wanted.iter().skip(1).filter_map(Dim::size).collect();
    let opened = open(&Source {
        data: settings.data.path.clone(),
        test: settings.data.test.clone(),
        targets: settings.data.targets.clone(),
        shape: known,
        skip_broken: settings.data.skip_broken,
    })?;
    notes.extend(opened.notes);
    let (mut whole, mut test) = (opened.train, opened.test);
    for data in [Some(&mut whole), test.as_mut()].into_iter().flatten() {
        let classes = data.labels.as_ref().map_or(0, Vec::len);
        let remedy = format!("give the model a new last layer with --head {classes}");
        notes.extend(by_name(model, data, &remedy)?);
    }
    let scored = score::find(&graph, settings.output.as_deref())?;
    let outputs = scored.classes.unwrap_or(1);
    let loss = loss(model, settings, &whole, outputs)?;
    for data in std::iter::once(&whole).chain(&test) {
        require_classes(model, data, outputs)?;
    }
    meaningful(settings, &whole, loss)?;
    let (mut train, mut validation) = parts(settings, whole)?;
    let mut description = model.description().clone();
    let stored = match &train.rows {
        Rows::Floats(_) => None,
        Rows::Files(_) => Some(Vec::new()),
        Rows::Bytes(_) => Some(train.shape.clone()),
    };
    let parts = [Some(&mut train), validation.as_mut(), test.as_mut()];
    if let Some(image) = prepare(&input, &description, settings, parts.into_iter().flatten().collect())? {
        description.preprocessing.insert(input.name.clone(), image);
    }
    let (shape, sizes) = sizes(&input, &train)?;
    let rows = wanted.first().and_then(Dim::as_symbol).map(ToOwned::to_owned);
    if description.labels.is_none()
        && let Some(labels) = &train.labels
    {
        description.labels = Some(Labels::new(labels.clone())?.into());
    }
    Ok(Fitted {
        input: input.name,
        graph,
        shape,
        stored,
        sizes,
        rows,
        train,
        validation,
        test,
        loss,
        outputs,
        description,
        notes,
    })
}

/// The rows to learn from and those held out, of as many as are asked for.
fn parts(settings: &Settings, mut whole: Dataset) -> Result<(Dataset, Option<Dataset>), Error> {
    if let Some(rows) = settings.data.rows.filter(|rows| *rows < whole.len()) {
        let share = 1.0 - rows as f64 / whole.len() as f64;
        let kept = split(&whole, share, settings.seed ^ 0x0f0f).train;
        whole = whole.subset(&kept);
    }
    if settings.data.validation > 0.0 {
        let parts = split(&whole, settings.data.validation, settings.seed);
        if !parts.held_out.is_empty() && !parts.train.is_empty() {
            return Ok((whole.subset(&parts.train), Some(whole.subset(&parts.held_out))));
        }
    }
    if settings.patience.is_some() {
        return Err(Error::Setting {
            name: "patience".to_owned(),
            problem: format!(
                "none of {} rows are held out, so that no epoch is better than another: say how many by data.validation",
                whole.len()
            ),
        });
    }
    Ok((whole, None))
}

/// Says how rows become the input's numbers, of each part alike; the preparation of pictures is given back.
fn prepare(
    input: &Value,
    description: &Description,
    settings: &Settings,
    parts: Vec<&mut Dataset>,
) -> Result<Option<ImageInput>, Error> {
    let Some(train) = parts.first() else { return Ok(None) };
    if !train.is_pictures() {
        if settings.data.size.is_some() {
            return Err(Error::Setting {
                name: "data.size".to_owned(),
                problem: "the rows are no pictures: leave the setting out".to_owned(),
            });
        }
        return Ok(None);
    }
    let described = description.preprocessing.get(&input.name);
    let asked = Asked { input, described, size: settings.data.size };
    if !asked.takes_pictures() {
        return Err(Error::Input {
            place: train.name.clone(),
            problem: format!(
                "its rows are pictures, and the model's input {:?} takes {}, which no picture becomes: give the rows as floats \
                 in an .npz",
                input.name,
                display_shape(&input.shape.clone().unwrap_or_default())
            ),
        });
    }
    let (image, shape) = asked.completed(train)?;
    for data in parts {
        data.prepare(&image, &shape)?;
    }
    Ok(Some(image))
}

/// Sizes of a row of the input, and what its symbols stand for.
pub(crate) fn sizes(input: &Value, data: &Dataset) -> Result<(Vec<usize>, BTreeMap<String, i64>), Error> {
    let wanted = input.shape.clone().unwrap_or_default();
    let behind = wanted.get(1..).unwrap_or_default();
    let mut sizes = BTreeMap::new();
    let mut shape: Vec<usize> = Vec::new();
    let alike = behind.len() == data.shape.len();
    for (at, dim) in behind.iter().enumerate() {
        let size = match (dim.size(), dim.as_symbol()) {
            (Some(size), _) => Some(size),
            (None, Some(symbol)) if alike => {
                sizes.insert(symbol.to_owned(), i64::try_from(data.shape[at]).unwrap_or(i64::MAX));
                Some(data.shape[at])
            }
            _ => None,
        };
        shape.extend(size);
    }
    let product: usize = shape.iter().product();
    // A row of pixels is a picture without its shape, and the other way round; other shapes are a mistake.
    let flat = shape.len() == 1 || data.shape.len() == 1;
    let fits = shape.len() == behind.len() && product == data.row_len() && (shape == data.shape || flat);
    if fits {
        return Ok((shape, sizes));
    }
    let hint = if !data.is_pictures() && data.shape.len() == 3 && behind.len() == 3 {
        "; numbers are not resized: give the pictures as bytes"
    } else {
        ""
    };
    Err(Error::Input {
        place: data.name.clone(),
        problem: format!(
            "a row has the sizes {:?}, and the model's input {:?} takes {}{hint}",
            data.shape,
            input.name,
            display_shape(&wanted)
        ),
    })
}

/// What is minimised: what was said, or what the targets are.
fn loss(model: &Model, settings: &Settings, data: &Dataset, outputs: usize) -> Result<LossName, Error> {
    let wrong = |problem: String| Error::Input { place: data.name.clone(), problem };
    let found = match &data.targets {
        Targets::Classes(_) if outputs > 1 => LossName::CrossEntropy,
        Targets::Classes(_) => {
            return Err(wrong(format!(
                "its targets are classes, and {} gives one number a row; give the targets as floats to predict them",
                model.name()
            )));
        }
        Targets::Numbers(numbers) => {
            if numbers.ncols() != outputs {
                return Err(wrong(format!(
                    "it has {} targets a row, and {} gives {outputs}",
                    numbers.ncols(),
                    model.name()
                )));
            }
            let labels =
                numbers.iter().all(|value| value.abs() < f32::EPSILON || (value - 1.0).abs() < f32::EPSILON);
            if labels { LossName::BinaryCrossEntropy } else { LossName::Mse }
        }
    };
    let loss = settings.loss.unwrap_or(found);
    let of_classes = matches!(data.targets, Targets::Classes(_));
    if of_classes != (loss == LossName::CrossEntropy) {
        return Err(Error::Setting {
            name: "loss".to_owned(),
            problem: if of_classes {
                "the targets are classes: expected cross-entropy".to_owned()
            } else {
                "the targets are numbers: expected binary-cross-entropy, mse or huber".to_owned()
            },
        });
    }
    Ok(loss)
}

/// Refuses rows of a class that the model does not have.
fn require_classes(model: &Model, data: &Dataset, outputs: usize) -> Result<(), Error> {
    let Targets::Classes(classes) = &data.targets else { return Ok(()) };
    let outside = |class: &i64| usize::try_from(*class).map_or(true, |class| class >= outputs);
    let Some(row) = classes.iter().position(outside) else { return Ok(()) };
    Err(Error::Input {
        place: data.name.clone(),
        problem: format!(
            "row {row} is of class {}, and {} has {outputs} classes, 0 to {}",
            classes[row],
            model.name(),
            outputs - 1
        ),
    })
}

/// Gives classes the model's numbers, where both sides have names; what was done is told. `remedy` is what helps where a
/// class is none of the model's, but for another name.
pub(crate) fn by_name(model: &Model, data: &mut Dataset, remedy: &str) -> Result<Option<String>, Error> {
    let Some(labels) = model.labels() else { return Ok(None) };
    let place = data.name.clone();
    let names: Vec<String> = labels.iter().map(ToOwned::to_owned).collect();
    let changed = data.renumber(&names, |name| {
        labels.find(name).map_err(|error| Error::Input {
            place: place.clone(),
            problem: format!(
                "its class {name:?} is none of {}'s: {error}; rename the class, or {remedy}",
                model.name()
            ),
        })
    })?;
    Ok(changed
        .then(|| format!("classes of {place} were matched to those of {} by their names", model.name())))
}

/// Refuses settings that would change nothing.
fn meaningful(settings: &Settings, data: &Dataset, loss: LossName) -> Result<(), Error> {
    let wrong = |name: &str, problem: String| Err(Error::Setting { name: name.to_owned(), problem });
    if settings.smoothing > 0.0 && loss != LossName::CrossEntropy {
        return wrong("smoothing", "it is of classes, and the targets are numbers: leave it out".to_owned());
    }
    if settings.class_weights.is_some() && matches!(loss, LossName::Mse | LossName::Huber) {
        return wrong("class_weights", "the targets are no classes: leave it out".to_owned());
    }
    if matches!(settings.class_weights, Some(ClassWeights::Named(_))) && loss != LossName::CrossEntropy {
        return wrong("class_weights", "\"balanced\" is of classes; give a factor for each label".to_owned());
    }
    let (Rows::Floats(_), true) = (&data.rows, settings.augment().changes_rows()) else { return Ok(()) };
    match data.shape[..] {
        [channels, _, last] if channels <= 4 || last > 4 => Ok(()),
        [_, _, channels] => wrong(
            "augment",
            format!(
                "rows of numbers {:?} seem to have their {channels} channels last, and numbers are changed channels first: give \
                 pictures as bytes",
                data.shape
            ),
        ),
        _ => wrong(
            "augment",
            format!("rows of numbers {:?} are no pictures, [channels, height, width]", data.shape),
        ),
    }
}
