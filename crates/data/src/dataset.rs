//! Rows and their targets.

use std::path::{Path, PathBuf};

use ndarray::Array2;
use pellucid::photograph::{self, Photograph};
use pellucid::preprocessing::{Color, ImageInput, LONGEST_INPUT_SIDE, Layout};
use pellucid::{Error, preprocessing};

/// Largest file of a picture: 256 MiB.
const MOST_PICTURE_BYTES: u64 = 256 << 20;

/// Most picture files whose bytes are looked at for their mean.
const MOST_LOOKED_AT: usize = 256;

/// What the rows are read from.
#[derive(Debug, Clone)]
pub enum Rows {
    /// Pictures of bytes in memory, one after the other, channel by channel.
    Bytes(Vec<u8>),
    /// Numbers in memory, one row after the other.
    Floats(Vec<f32>),
    /// A picture file a row, decoded when it is asked for.
    Files(Vec<PathBuf>),
}

/// What each row should give.
#[derive(Debug, Clone, PartialEq)]
pub enum Targets {
    /// A class a row.
    Classes(Vec<i64>),
    /// Some numbers a row, `[n, outputs]`: values to predict, or 0 and 1 for each label.
    Numbers(Array2<f32>),
}

impl Targets {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Classes(classes) => classes.len(),
            Self::Numbers(numbers) => numbers.nrows(),
        }
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How the bytes of pictures become numbers: (byte / 255 − mean) / std, by channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaling {
    /// Subtracted, a number a channel.
    pub mean: Vec<f32>,
    /// Divided by, a number a channel.
    pub std: Vec<f32>,
}

/// Rows with targets.
#[derive(Debug, Clone)]
pub struct Dataset {
    /// What people know it by.
    pub name: String,
    /// The rows.
    pub rows: Rows,
    /// Their targets.
    pub targets: Targets,
    /// Sizes of a row as it is read: `[columns]` of tables; of pictures `[channels, height, width]`, once they are
    /// prepared those of the network's input.
    pub shape: Vec<usize>,
    /// Names of the classes, where the data has them.
    pub labels: Option<Vec<String>>,
    /// A hash of the files' contents, in hexadecimal; of a folder of pictures, of names and sizes.
    pub hash: String,
    /// Sizes of a row as it is held.
    stored: Vec<usize>,
    /// For pictures: what each byte of each channel becomes.
    tables: Vec<Vec<f32>>,
    /// How a picture is prepared, where that is said.
    preparation: Option<Preparation>,
}

/// How pictures become a network's input.
#[derive(Debug, Clone)]
struct Preparation {
    image: ImageInput,
    /// Whether a picture's places and channels stay where they are, so that bytes are looked up and nothing else.
    as_they_are: bool,
}

impl Dataset {
    /// Rows and targets that are as many.
    ///
    /// # Errors
    /// No rows; a number of rows that differs between rows and targets; rows that are not whole.
    pub fn new(
        name: impl Into<String>,
        rows: Rows,
        targets: Targets,
        shape: Vec<usize>,
        hash: String,
    ) -> Result<Self, Error> {
        let name = name.into();
        let wrong = |problem: String| Error::Input { place: name.clone(), problem };
        let size = shape.iter().fold(1usize, |size, next| size.saturating_mul(*next));
        let held = match &rows {
            Rows::Bytes(bytes) => bytes.len(),
            Rows::Floats(floats) => floats.len(),
            Rows::Files(files) => files.len().saturating_mul(size),
        };
        if size == 0 || held == 0 {
            return Err(wrong("it holds no rows".to_owned()));
        }
        if held != size.saturating_mul(targets.len()) {
            return Err(wrong(format!("{} rows found, and {} targets", held / size, targets.len())));
        }
        let channels = if shape.len() == 3 { shape[0] } else { 1 };
        let tables = vec![(0..256u16).map(|byte| f32::from(byte) / 255.0).collect(); channels];
        let stored = shape.clone();
        Ok(Self { name, rows, targets, shape, labels: None, hash, stored, tables, preparation: None })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether rows are pictures, whose bytes are scaled.
    pub fn is_pictures(&self) -> bool {
        !matches!(self.rows, Rows::Floats(_))
    }

    /// Numbers in a row.
    pub fn row_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of classes: one more than the largest, or the labels' number; `None` for numbers.
    pub fn classes(&self) -> Option<usize> {
        let Targets::Classes(classes) = &self.targets else { return None };
        let largest = classes.iter().copied().max().and_then(|class| usize::try_from(class).ok());
        let named = self.labels.as_ref().map_or(0, Vec::len);
        Some(largest.map_or(0, |class| class + 1).max(named))
    }

    /// Rows of each class.
    pub fn by_class(&self) -> Vec<usize> {
        let mut counts = vec![0; self.classes().unwrap_or_default()];
        if let Targets::Classes(classes) = &self.targets {
            for class in classes.iter().filter_map(|class| usize::try_from(*class).ok()) {
                if let Some(count) = counts.get_mut(class) {
                    *count += 1;
                }
            }
        }
        counts
    }

    /// Gives the classes the numbers that their names have in `labels`, which become the names of this data; says whether
    /// anything changed. Data without names is left alone. `find` says where in `labels` a name is.
    ///
    /// # Errors
    /// What `find` says of a name; nothing is changed then.
    pub fn renumber(
        &mut self,
        labels: &[String],
        find: impl Fn(&str) -> Result<usize, Error>,
    ) -> Result<bool, Error> {
        let Some(named) = self.labels.as_deref().filter(|named| *named != labels) else { return Ok(false) };
        let places = named.iter().map(|name| find(name)).collect::<Result<Vec<usize>, Error>>()?;
        if let Targets::Classes(classes) = &mut self.targets {
            for class in classes {
                let place = usize::try_from(*class).ok().and_then(|class| places.get(class));
                // A class beyond the names is none of the others' either, and is refused as one below 0.
                *class = place.and_then(|place| i64::try_from(*place).ok()).unwrap_or(-1);
            }
        }
        self.labels = Some(labels.to_vec());
        Ok(true)
    }

    /// Mean and standard deviation of the bytes of each channel, divided by 255, before any resize; `None` for rows of
    /// numbers. With `gray` those of the one channel that three become. Of picture files 256 are looked at, evenly spaced.
    ///
    /// # Errors
    /// Files that cannot be read or decoded.
    pub fn statistics(&self, gray: bool) -> Result<Option<Scaling>, Error> {
        let mut histograms = match &self.rows {
            Rows::Floats(_) => return Ok(None),
            Rows::Bytes(bytes) => self.histograms(bytes, gray),
            Rows::Files(files) => {
                let mut histograms = vec![[0u64; 256]; 3];
                for path in files.iter().step_by(files.len().div_ceil(MOST_LOOKED_AT).max(1)) {
                    let (place, bytes) = contents(path)?;
                    for pixel in photograph::decode(&place, &bytes)?.pixels() {
                        let bytes = if gray { [preprocessing::gray(pixel.0); 3] } else { pixel.0 };
                        for (histogram, byte) in histograms.iter_mut().zip(bytes) {
                            histogram[usize::from(byte)] += 1;
                        }
                    }
                }
                histograms
            }
        };
        histograms.truncate(if gray { 1 } else { histograms.len() });
        let (mean, std) = histograms.iter().map(moments).unzip();
        Ok(Some(Scaling { mean, std }))
    }

    /// How many bytes of each value there are, by channel; with `gray` of the one channel that three become.
    fn histograms(&self, bytes: &[u8], gray: bool) -> Vec<[u64; 256]> {
        let channels = self.channels();
        let place = self.stored_len() / channels;
        let mut histograms = vec![[0u64; 256]; channels];
        if gray && channels == 3 {
            for row in bytes.chunks_exact(3 * place) {
                for at in 0..place {
                    let pixel = [row[at], row[place + at], row[2 * place + at]];
                    histograms[0][usize::from(preprocessing::gray(pixel))] += 1;
                }
            }
            return histograms;
        }
        for (channel, plane) in bytes.chunks_exact(place).enumerate() {
            for byte in plane {
                histograms[channel % channels][usize::from(*byte)] += 1;
            }
        }
        histograms
    }

    /// Says how pictures become rows of `shape`, the network's input: resized, cut, their channels and numbers, by the
    /// very code that prepares a photograph. A picture is prepared when its row is read; nothing is held prepared.
    ///
    /// # Errors
    /// Rows that are no pictures; a description without a meaning; pictures that become other sizes, told before memory
    /// is taken for them; sizes that no network's input has.
    pub fn prepare(&mut self, image: &ImageInput, shape: &[usize]) -> Result<(), Error> {
        image.check(&self.name)?;
        let side = usize::try_from(LONGEST_INPUT_SIDE).unwrap_or(usize::MAX);
        let sizes: [usize; 3] = match shape.try_into() {
            Ok(sizes) if shape.iter().all(|size| (1..=side).contains(size)) => sizes,
            _ => {
                return Err(self.wrong(format!(
                    "pictures would become {shape:?}, expected three sizes of 1 to {LONGEST_INPUT_SIDE}"
                )));
            }
        };
        let ([height, width], channels) = match image.layout {
            Layout::Nchw => ([sizes[1], sizes[2]], sizes[0]),
            Layout::Nhwc => ([sizes[0], sizes[1]], sizes[2]),
        };
        let said = image.size().map(|(height, width)| [height, width].map(|side| usize::try_from(side).ok()));
        let agrees = said.is_none_or(|said| said == [Some(height), Some(width)]);
        if !agrees || channels != image.color.channels() {
            let [tall, wide] = said.unwrap_or_default().map(Option::unwrap_or_default);
            let made = if agrees { String::new() } else { format!("{tall} × {wide} of ") };
            return Err(self.wrong(format!(
                "the model's preprocessing makes {made}{} channels of a picture, and its input takes {height} × {width} of \
                 {channels}: mend the preprocessing",
                image.color.channels()
            )));
        }
        let as_they_are = self.prepared_alike(image, shape, [height, width])?;
        self.tables = image.table();
        self.preparation = Some(Preparation { image: image.clone(), as_they_are });
        self.shape = shape.to_vec();
        Ok(())
    }

    /// Whether pictures of bytes keep places and channels; they are all of one size, so the first tells.
    fn prepared_alike(&self, image: &ImageInput, shape: &[usize], sides: [usize; 2]) -> Result<bool, Error> {
        match &self.rows {
            Rows::Floats(_) => Err(self.wrong(
                "its rows are numbers, which are taken as they are; pictures of bytes are resized".to_owned(),
            )),
            Rows::Files(_) => Ok(false),
            Rows::Bytes(_) => {
                let whole = self.bytes_of(0)?.geometry;
                let (width, height) = whole.original;
                let geometry = image.geometry(&self.name, width, height)?;
                let (wide, tall) = geometry.crop;
                let made = [tall, wide].map(|side| usize::try_from(side).unwrap_or(usize::MAX));
                if made != sides {
                    return Err(self.wrong(format!(
                        "a picture of {height} × {width} becomes {tall} × {wide} by the model's preprocessing, and its \
                         input takes {} × {}: say what it is resized to, such as --image resize=224x224",
                        sides[0], sides[1]
                    )));
                }
                let moved = image.layout != Layout::Nchw || image.color == Color::Bgr;
                Ok(!moved && self.stored == shape && geometry == whole)
            }
        }
    }

    /// What a black pixel becomes in each channel; 0 for rows of numbers.
    pub fn black(&self) -> Vec<f32> {
        if self.is_pictures() {
            self.tables.iter().map(|table| table[0]).collect()
        } else {
            vec![0.0; self.tables.len()]
        }
    }

    /// Whether channels are the last axis of a row.
    pub(crate) fn is_channels_last(&self) -> bool {
        self.preparation.as_ref().is_some_and(|preparation| preparation.image.layout == Layout::Nhwc)
    }

    /// Picture `index` as it is held, and where the network's input lies on it; `None` for rows that are no pictures in
    /// memory.
    ///
    /// # Panics
    /// Where there is no such row.
    pub fn photograph(&self, index: usize) -> Option<Photograph> {
        let mut picture = self.bytes_of(index).ok()?;
        if let Some(Preparation { image, .. }) = &self.preparation {
            let (width, height) = picture.geometry.original;
            picture.geometry = image.geometry(&self.name, width, height).ok()?;
        }
        Some(picture)
    }

    fn bytes_of(&self, index: usize) -> Result<Photograph, Error> {
        let size = self.stored_len();
        let made = match (&self.rows, self.stored.as_slice()) {
            (Rows::Bytes(bytes), [channels, height, width]) => {
                let row = &bytes[index * size..(index + 1) * size];
                Photograph::from_planes(*channels, *height, *width, row)
            }
            _ => None,
        };
        made.ok_or_else(|| {
            self.wrong(format!(
                "its rows have the sizes {:?}, expected pictures of 1 or 3 channels",
                self.stored
            ))
        })
    }

    fn channels(&self) -> usize {
        if self.stored.len() == 3 { self.stored[0] } else { 1 }
    }

    fn stored_len(&self) -> usize {
        self.stored.iter().product()
    }

    fn wrong(&self, problem: String) -> Error {
        Error::Input { place: self.name.clone(), problem }
    }

    /// Writes row `index` to `out`, which has [`Dataset::row_len`] places.
    ///
    /// # Errors
    /// Files that cannot be read or decoded, or do not have the shape.
    ///
    /// # Panics
    /// Where there is no such row, or `out` has another length.
    pub fn read(&self, index: usize, out: &mut [f32]) -> Result<(), Error> {
        match (&self.rows, &self.preparation) {
            (Rows::Floats(floats), _) => {
                let size = self.row_len();
                out.copy_from_slice(&floats[index * size..(index + 1) * size]);
            }
            (Rows::Bytes(_), Some(Preparation { image, as_they_are: false })) => {
                let (values, _) = image.apply(&self.name, &self.bytes_of(index)?.picture)?;
                out.iter_mut().zip(values.iter()).for_each(|(out, value)| *out = *value);
            }
            (Rows::Bytes(bytes), _) => {
                let size = self.stored_len();
                let row = &bytes[index * size..(index + 1) * size];
                let place = size / self.tables.len();
                let planes = row.chunks_exact(place).zip(out.chunks_exact_mut(place));
                for ((bytes, out), table) in planes.zip(&self.tables) {
                    for (out, byte) in out.iter_mut().zip(bytes) {
                        *out = table[usize::from(*byte)];
                    }
                }
            }
            (Rows::Files(files), _) => self.decode(&files[index], out)?,
        }
        Ok(())
    }

    fn decode(&self, path: &Path, out: &mut [f32]) -> Result<(), Error> {
        let (place, bytes) = contents(path)?;
        let preparation = self.preparation.as_ref().ok_or_else(|| Error::Setting {
            name: "data".to_owned(),
            problem: "nothing says how pictures become the network's input".to_owned(),
        })?;
        let (values, _) = preparation.image.apply(&place, &photograph::decode(&place, &bytes)?)?;
        if values.shape() != self.shape {
            return Err(Error::Input {
                place,
                problem: format!("it becomes {:?}, and the network takes {:?}", values.shape(), self.shape),
            });
        }
        out.iter_mut().zip(values.iter()).for_each(|(out, value)| *out = *value);
        Ok(())
    }

    /// Some of the rows, in the order given.
    ///
    /// # Panics
    /// Where there is no such row.
    #[must_use]
    pub fn subset(&self, indices: &[usize]) -> Self {
        let size = self.stored_len();
        let rows = match &self.rows {
            Rows::Bytes(bytes) => {
                Rows::Bytes(indices.iter().flat_map(|i| &bytes[i * size..(i + 1) * size]).copied().collect())
            }
            Rows::Floats(floats) => Rows::Floats(
                indices.iter().flat_map(|i| &floats[i * size..(i + 1) * size]).copied().collect(),
            ),
            Rows::Files(files) => Rows::Files(indices.iter().map(|i| files[*i].clone()).collect()),
        };
        let targets = match &self.targets {
            Targets::Classes(classes) => Targets::Classes(indices.iter().map(|i| classes[*i]).collect()),
            Targets::Numbers(numbers) => Targets::Numbers(numbers.select(ndarray::Axis(0), indices)),
        };
        Self { rows, targets, ..self.clone_without_rows() }
    }

    fn clone_without_rows(&self) -> Self {
        Self {
            name: self.name.clone(),
            rows: Rows::Floats(Vec::new()),
            targets: Targets::Classes(Vec::new()),
            shape: self.shape.clone(),
            labels: self.labels.clone(),
            hash: self.hash.clone(),
            stored: self.stored.clone(),
            tables: self.tables.clone(),
            preparation: self.preparation.clone(),
        }
    }
}

/// What people know a picture's file by, and its bytes.
pub(crate) fn contents(path: &Path) -> Result<(String, Vec<u8>), Error> {
    Ok((path.display().to_string(), pellucid::file::read(path, MOST_PICTURE_BYTES)?))
}

/// Mean and standard deviation of bytes divided by 255, of which there are so many each; 1 for a deviation of nothing.
fn moments(histogram: &[u64; 256]) -> (f32, f32) {
    let count: f64 = histogram.iter().map(|count| *count as f64).sum();
    let moment = |power: i32| {
        let sum: f64 = (0..256).map(|byte| histogram[byte] as f64 * (byte as f64 / 255.0).powi(power)).sum();
        sum / count
    };
    let (mean, square) = (moment(1), moment(2));
    let std = (square - mean * mean).max(0.0).sqrt();
    (rounded(mean), if std > 1e-6 { rounded(std) } else { 1.0 })
}

/// To six digits, as people write such numbers; what is written into a file is then what was used.
fn rounded(value: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "a rounded share of 255")]
    let value = ((value * 1e6).round() / 1e6) as f32;
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_scaled_by_channel() {
        let rows = Rows::Bytes(vec![0, 255, 51, 51, 0, 51, 255, 0, 102, 102, 51, 0]);
        let mut data =
            Dataset::new("d", rows, Targets::Classes(vec![0, 1]), vec![3, 1, 2], String::new()).unwrap();
        let Scaling { mean, std } = data.statistics(false).unwrap().unwrap();
        assert_eq!((mean.as_slice(), std.as_slice()), (&[0.5, 0.3, 0.1][..], &[0.5, 0.1, 0.1][..]));
        let image = ImageInput { range: Some([0.0, 1.0]), mean, std, ..ImageInput::default() };
        data.prepare(&image, &[3, 1, 2]).unwrap();
        let mut row = [0.0; 6];
        data.read(1, &mut row).unwrap();
        let expected = [1.0, -1.0, 1.0, 1.0, 1.0, -1.0];
        assert!(row.iter().zip(expected).all(|(a, b): (&f32, f32)| (a - b).abs() < 1e-5), "{row:?}");
        assert_eq!(data.classes(), Some(2));
        let part = data.subset(&[1]);
        part.read(0, &mut row).unwrap();
        assert!((row[0] - 1.0).abs() < 1e-6 && part.len() == 1);
    }

    #[test]
    fn rows_and_targets_are_as_many() {
        let told =
            |rows, targets| Dataset::new("d", rows, targets, vec![2], String::new()).unwrap_err().to_string();
        let classes = |count: i64| Targets::Classes((0..count).collect());
        assert_eq!(told(Rows::Floats(vec![0.0; 4]), classes(3)), "d: 2 rows found, and 3 targets");
        assert_eq!(told(Rows::Floats(Vec::new()), classes(0)), "d: it holds no rows");
        let none = Rows::Floats(Vec::new());
        let giant = Dataset::new("d", none, classes(0), vec![usize::MAX, 2], String::new()).unwrap_err();
        assert_eq!(giant.to_string(), "d: it holds no rows");
    }
}
