//! Pictures brought to a network's input: which size and channels that is, and what becomes of their bytes.
//!
//! What a model says of its pictures is kept, so that training, measuring and `predict` prepare a picture by one code.
//! Only what it does not say is filled in, and then written into the trained model. Resizing itself is
//! [`pellucid::preprocessing`]'s business.

use pellucid::Error;
use pellucid::preprocessing::{Color, ImageInput, Layout, Resize};
use pellucid_data::{Dataset, Rows, Scaling};
use pellucid_graph::{Dim, Value};

/// What is said of the pictures of a run.
pub(crate) struct Asked<'a> {
    /// The network's input.
    pub(crate) input: &'a Value,
    /// What the model says of pictures.
    pub(crate) described: Option<&'a ImageInput>,
    /// Height and width that were asked for.
    pub(crate) size: Option<[u32; 2]>,
}

/// Height, width and channels of an input, as far as the model fixes them.
struct Sizes {
    layout: Layout,
    sides: [Option<usize>; 2],
    channels: Option<usize>,
}

impl Asked<'_> {
    /// Whether the input can take pictures: rows, and three axes behind them, or one, along which a picture's numbers lie one
    /// after the other.
    pub(crate) fn takes_pictures(&self) -> bool {
        self.input.shape.as_ref().is_some_and(|shape| matches!(shape.len(), 2 | 4))
    }

    /// Whether a picture's numbers lie along one axis.
    pub(crate) fn is_flat(&self) -> bool {
        self.input.shape.as_ref().is_some_and(|shape| shape.len() == 2)
    }

    /// Channels of pictures of this height and width that a flat row of the input has.
    fn channels_of_row(&self, [height, width]: [usize; 2]) -> Option<usize> {
        let length = self.input.shape.as_ref().filter(|_| self.is_flat())?[1].size()?;
        let channels = length / height.checked_mul(width).filter(|plane| *plane > 0)?;
        (matches!(channels, 1 | 3) && channels * height * width == length).then_some(channels)
    }

    /// How pictures of `data` are prepared for training, and the sizes of the rows that they become: what the model says;
    /// of what it leaves out, the input's size, channels repeated or made gray, and the data's own mean and deviation.
    ///
    /// # Errors
    /// A size that is asked for and is not the input's; pictures of many sizes for an input of none; channels that no
    /// picture has.
    pub(crate) fn completed(&self, data: &Dataset) -> Result<(ImageInput, Vec<usize>), Error> {
        let mut found = self.sizes();
        let held = held(data);
        for (asked, fixed) in self.size.into_iter().flatten().map(index).zip(found.sides) {
            if let Some(fixed) = fixed.filter(|fixed| *fixed != asked) {
                return Err(Error::Setting {
                    name: "data.size".to_owned(),
                    problem: format!(
                        "{asked} found, and the model's input {:?} takes {fixed}; leave the setting out",
                        self.input.name
                    ),
                });
            }
        }
        let sides = self.sides(&found, held)?;
        found.channels = found.channels.or_else(|| self.channels_of_row(sides));
        let mut image = match self.described {
            Some(image) => image.clone(),
            None => self.drawn_up(data, &found, held)?,
        };
        let moved = held.is_none_or(|(_, stored)| stored != sides);
        let unsaid = image.resize.is_none() && image.crop.is_none() && (self.described.is_none() || moved);
        if self.size.is_some() || unsaid {
            let [height, width] = sides.map(|side| u32::try_from(side).unwrap_or(u32::MAX));
            let old = image.resize.unwrap_or_default();
            image.resize = Some(Resize { shorter_side: None, size: Some([height, width]), ..old });
            image.crop = None;
        }
        let shape = shape(image.layout, found.channels.unwrap_or(image.color.channels()), sides);
        Ok((image, shape))
    }

    /// The sizes of rows of pictures that are prepared as the model says, and in no other way.
    ///
    /// # Errors
    /// Pictures of many sizes for an input of none.
    pub(crate) fn said(&self, image: &ImageInput, data: &Dataset) -> Result<Vec<usize>, Error> {
        let found = self.sizes();
        Ok(shape(
            image.layout,
            found.channels.unwrap_or(image.color.channels()),
            self.sides(&found, held(data))?,
        ))
    }

    /// Which axis holds what: as the model says, else channels stand first unless only the last axis can be channels.
    fn sizes(&self) -> Sizes {
        let shape = self.input.shape.as_deref().filter(|_| !self.is_flat()).unwrap_or_default();
        let at = |axis: usize| shape.get(axis).and_then(Dim::size);
        let is_channels = |axis: usize| matches!(at(axis), Some(1 | 3));
        let layout = self.described.map_or_else(
            || if is_channels(3) && at(1).is_some() && !is_channels(1) { Layout::Nhwc } else { Layout::Nchw },
            |image| image.layout,
        );
        match layout {
            Layout::Nchw => Sizes { layout, sides: [at(2), at(3)], channels: at(1) },
            Layout::Nhwc => Sizes { layout, sides: [at(1), at(2)], channels: at(3) },
        }
    }

    /// Height and width: what was asked for, what the model fixes, what it says of pictures, what all pictures have.
    fn sides(&self, found: &Sizes, held: Option<(usize, [usize; 2])>) -> Result<[usize; 2], Error> {
        let said = self.described.and_then(ImageInput::size).map(|(height, width)| [height, width]);
        let one = |axis: usize| {
            let asked = self.size.map(|size| index(size[axis]));
            let said = said.map(|size| index(size[axis]));
            asked.or(found.sides[axis]).or(said).or(held.map(|(_, sides)| sides[axis]))
        };
        match (one(0), one(1)) {
            (Some(height), Some(width)) => Ok([height, width]),
            _ => Err(Error::Setting {
                name: "data.size".to_owned(),
                problem: format!(
                    "the model's input {:?} leaves height and width open, and so do the pictures: say what they become, \
                     such as data.size=[224,224]",
                    self.input.name
                ),
            }),
        }
    }

    /// A description for a model that has none: channels are the input's, and bytes are brought to mean 0 and deviation 1.
    fn drawn_up(
        &self,
        data: &Dataset,
        found: &Sizes,
        held: Option<(usize, [usize; 2])>,
    ) -> Result<ImageInput, Error> {
        let color = match found.channels.or(held.map(|(channels, _)| channels)).unwrap_or(3) {
            1 => Color::Gray,
            3 => Color::Rgb,
            other => {
                return Err(Error::Input {
                    place: data.name.clone(),
                    problem: format!(
                        "its rows are pictures, of 1 or 3 channels, and the model's input {:?} takes {other}",
                        self.input.name
                    ),
                });
            }
        };
        let own = data.statistics(color == Color::Gray)?;
        let Scaling { mean, std } =
            own.ok_or_else(|| Error::Internal(format!("{}: its rows are no pictures", data.name)))?;
        Ok(ImageInput {
            layout: found.layout,
            color,
            range: Some([0.0, 1.0]),
            mean,
            std,
            ..ImageInput::default()
        })
    }
}

/// Channels, and height and width, of pictures in memory, which are all of one size.
fn held(data: &Dataset) -> Option<(usize, [usize; 2])> {
    match (&data.rows, data.shape.as_slice()) {
        (Rows::Bytes(_), [channels, height, width]) => Some((*channels, [*height, *width])),
        _ => None,
    }
}

fn shape(layout: Layout, channels: usize, [height, width]: [usize; 2]) -> Vec<usize> {
    match layout {
        Layout::Nchw => vec![channels, height, width],
        Layout::Nhwc => vec![height, width, channels],
    }
}

fn index(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use pellucid_data::Targets;
    use pellucid_graph::{ElementType, Origin};

    use super::*;

    /// An input of these sizes, 0 for one that is open.
    fn input(sizes: [usize; 3]) -> Value {
        let open = |axis: usize| Dim::symbol(format!("s{axis}"));
        let sizes = sizes.iter().enumerate();
        let behind = sizes.map(|(axis, size)| if *size == 0 { open(axis) } else { Dim::from(*size) });
        Value {
            name: "x".to_owned(),
            element: Some(ElementType::F32),
            shape: Some(std::iter::once(Dim::symbol("n")).chain(behind).collect()),
            contents: None,
            origin: Origin::Input,
            fixed: false,
        }
    }

    /// Two pictures of bytes.
    fn data(channels: usize, height: usize, width: usize) -> Dataset {
        let bytes = (0..2 * channels * height * width).map(|at| u8::try_from(at % 256).unwrap()).collect();
        let shape = vec![channels, height, width];
        Dataset::new("d", Rows::Bytes(bytes), Targets::Classes(vec![0, 1]), shape, String::new()).unwrap()
    }

    fn completed(
        sizes: [usize; 3],
        described: Option<&ImageInput>,
        size: Option<[u32; 2]>,
        mut data: Dataset,
    ) -> Result<(ImageInput, Vec<usize>), String> {
        let input = input(sizes);
        let asked = Asked { input: &input, described, size };
        let (image, shape) = asked.completed(&data).map_err(|error| error.to_string())?;
        data.prepare(&image, &shape).map_err(|error| error.to_string())?;
        assert_eq!(data.shape, shape);
        data.read(1, &mut vec![0.0; data.row_len()]).unwrap();
        Ok((image, shape))
    }

    fn exact(image: &ImageInput) -> Option<[u32; 2]> {
        image.resize.and_then(|resize| resize.size)
    }

    #[test]
    fn what_a_model_does_not_say_is_filled_in() {
        // Gray pictures for three channels: repeated, and the mean is one for all.
        let (image, shape) = completed([3, 12, 10], None, None, data(1, 6, 5)).unwrap();
        assert_eq!((shape, image.color, exact(&image)), (vec![3, 12, 10], Color::Rgb, Some([12, 10])));
        assert_eq!(image.mean.len(), 1);
        // Three channels for one: gray, whose mean is not that of the channels together.
        let (image, shape) = completed([1, 3, 3], None, None, data(3, 6, 5)).unwrap();
        assert_eq!((shape, image.color), (vec![1, 3, 3], Color::Gray));
        // A flat row: the size of the pictures, their channels if the row is as long, and made gray if that is.
        let flat = |length: usize, data: Dataset| {
            let input = Value { shape: Some(vec![Dim::symbol("n"), Dim::from(length)]), ..input([1; 3]) };
            let asked = Asked { input: &input, described: None, size: None };
            let (image, shape) = asked.completed(&data).unwrap();
            (shape, image.color, exact(&image))
        };
        assert_eq!(flat(30, data(1, 6, 5)), (vec![1, 6, 5], Color::Gray, Some([6, 5])));
        assert_eq!(flat(90, data(3, 6, 5)), (vec![3, 6, 5], Color::Rgb, Some([6, 5])));
        assert_eq!(flat(30, data(3, 6, 5)), (vec![1, 6, 5], Color::Gray, Some([6, 5])));
        // Channels last.
        let (image, shape) = completed([8, 8, 3], None, None, data(1, 6, 5)).unwrap();
        assert_eq!((shape, image.layout), (vec![8, 8, 3], Layout::Nhwc));
        // Open sizes: what is asked for, else the pictures' own.
        let (image, shape) = completed([3, 0, 0], None, Some([9, 7]), data(1, 6, 5)).unwrap();
        assert_eq!((shape, exact(&image)), (vec![3, 9, 7], Some([9, 7])));
        assert_eq!(completed([3, 0, 0], None, None, data(1, 6, 5)).unwrap().1, [3, 6, 5]);
    }

    #[test]
    fn what_a_model_says_is_kept() {
        let mut said = ImageInput::default();
        said.set("resize", "8").unwrap();
        said.set("crop", "6x6").unwrap();
        assert_eq!(completed([3, 6, 6], Some(&said), None, data(1, 5, 7)).unwrap().0, said);
        assert_eq!(completed([3, 0, 0], Some(&said), None, data(1, 5, 7)).unwrap().1, [3, 6, 6]);
        // Numbers alone: the size is added where pictures have another.
        let mut said = ImageInput::default();
        said.set("std", "255").unwrap();
        let (image, _) = completed([3, 6, 6], Some(&said), None, data(3, 5, 7)).unwrap();
        assert_eq!((exact(&image), image.std), (Some([6, 6]), vec![255.0]));
        assert_eq!(completed([3, 6, 6], Some(&said), None, data(3, 6, 6)).unwrap().0, said);
    }

    #[test]
    fn sizes_that_cannot_be_are_told() {
        let told = |sizes, described: Option<&ImageInput>, size, data| {
            completed(sizes, described, size, data).unwrap_err()
        };
        assert_eq!(
            told([3, 12, 10], None, Some([9, 10]), data(1, 6, 5)),
            "data.size: 9 found, and the model's input \"x\" takes 12; leave the setting out"
        );
        assert_eq!(
            told([3, 0, 0], None, Some([0, 10]), data(1, 6, 5)),
            "d: resize.size: 0 found, expected 1 to 8192 pixels"
        );
        let giant = told([3, 0, 0], None, Some([u32::MAX, u32::MAX]), data(1, 6, 5));
        assert_eq!(giant, "d: resize.size: 4294967295 found, expected 1 to 8192 pixels");
        assert_eq!(
            told([4, 12, 10], None, None, data(1, 6, 5)),
            "d: its rows are pictures, of 1 or 3 channels, and the model's input \"x\" takes 4"
        );
        let mut said = ImageInput::default();
        said.set("crop", "8192x8192").unwrap();
        assert_eq!(
            told([3, 6, 6], Some(&said), None, data(1, 6, 5)),
            "d: the model's preprocessing makes 8192 × 8192 of 3 channels of a picture, and its input takes 6 × 6 of 3: \
             mend the preprocessing"
        );
        let files = Rows::Files(vec!["a.png".into()]);
        let files = Dataset::new("d", files, Targets::Classes(vec![0]), vec![3], String::new()).unwrap();
        let open = told([3, 0, 0], None, None, files);
        assert!(open.ends_with("say what they become, such as data.size=[224,224]"), "{open}");
    }
}
