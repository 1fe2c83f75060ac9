//! Reads the golden vectors in the repository's `goldens/` folder.
//!
//! What the vectors are, and how they were made, stands in `goldens/README.md`. This module
//! gives them as they are and measures how far an array is from one; it runs nothing.
//! Everything here panics on a broken file: it serves tests only.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use ndarray::{ArrayD, Axis, IxDyn};
use ndarray_npy::NpzReader;
use serde::Deserialize;
use serde_json::{Map, Value};

/// A network, its exported files, and what PyTorch and Captum say of it.
#[derive(Debug, Clone)]
pub struct Golden {
    /// The network's name, such as `squeeze_excite`.
    pub name: String,
    /// What it covers, in words.
    pub covers: String,
    /// Whether the network has no kink, so that central differences meet its derivatives.
    pub smooth: bool,
    /// The module that a layer method picks when none is named, where there is one.
    pub last_spatial: Option<String>,
    /// How the two steps of SGD were made, where there are any.
    pub training: Option<Training>,
    /// The exported files: two exporters, folded and unfolded.
    pub variants: Vec<Variant>,
    /// The attributions to agree with.
    pub cases: Vec<Case>,
    /// The class explained, one a row: `[n]`.
    pub target: ArrayD<i64>,
    arrays: BTreeMap<String, ArrayD<f64>>,
    classes: BTreeMap<String, ArrayD<i64>>,
}

/// One exported file of a network.
#[derive(Debug, Clone, Deserialize)]
pub struct Variant {
    /// File name inside the folder of the vectors.
    pub file: String,
    /// `torchscript` or `dynamo`.
    pub exporter: String,
    /// Whether the exporter folded constants and `BatchNormalization`.
    pub folded: bool,
    /// The value that holds the logits: `output`, unless a Softmax follows.
    pub logits: String,
    /// Module to the value it gives in this file.
    pub layers: BTreeMap<String, String>,
    /// Parameter to the initializer that holds it; folded files lack some.
    pub weights: BTreeMap<String, Weight>,
    /// How far this file is from the network in float64, as a part of the row's maximum, where known.
    pub float64_deviation: Option<f64>,
}

/// Where a file keeps a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Weight {
    /// The initializer's name.
    pub value: String,
    /// How its shape follows from the parameter's.
    pub layout: Layout,
}

/// How an initializer's elements lie, compared with the parameter's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// The same shape.
    Same,
    /// The axes reversed.
    Transposed,
    /// The same order of elements in another shape.
    Reshaped,
}

/// One attribution, and how to ask for it.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    /// The key of the array to agree with.
    pub key: String,
    /// The method's name.
    pub method: String,
    /// Settings, under the names of the command line.
    pub settings: Map<String, Value>,
    baseline: Option<String>,
    noise: Option<String>,
    background: Option<String>,
    masks: Option<String>,
    #[serde(default)]
    draws: bool,
    /// The module explained, for layer methods; [`Variant::layers`] gives its value.
    pub layer: Option<String>,
    /// The hidden unit explained in place of a class: a module, and a place in what it gives.
    pub neuron: Option<Neuron>,
    /// Whether the array holds for files whose `BatchNormalization` was not folded only.
    #[serde(default)]
    pub unfolded_only: bool,
    /// The key of the classes explained, where they are not the network's own.
    target: Option<String>,
}

/// A unit of a module's output.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Neuron {
    /// The module; [`Variant::layers`] gives its value.
    pub layer: String,
    /// The place behind the rows.
    pub index: Vec<usize>,
}

/// Steps of SGD on the mean cross-entropy: v ← momentum · v + g, w ← w − `learning_rate` · v.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Training {
    /// Factor of the velocity in a step.
    pub learning_rate: f64,
    /// What is kept of the velocity.
    pub momentum: f64,
    /// How many steps were made.
    pub steps: usize,
}

/// How far from a reference a result may be, as a part of its row's maximum.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Tolerances {
    /// For compiled graphs on an engine in float32.
    pub float32: f64,
    /// For derivatives in the float64 interpreter.
    pub float64: f64,
}

#[derive(Deserialize)]
struct Index {
    tolerances: Tolerances,
    networks: Vec<Entry>,
}

/// Cases that were made apart, for networks of the index.
#[derive(Deserialize)]
struct More {
    networks: Vec<MoreCases>,
}

#[derive(Deserialize)]
struct MoreCases {
    name: String,
    arrays: String,
    cases: Vec<Case>,
    /// By file: more modules and the values they give.
    #[serde(default)]
    layers: BTreeMap<String, BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Entry {
    name: String,
    covers: String,
    arrays: String,
    smooth: bool,
    last_spatial: Option<String>,
    training: Option<Training>,
    variants: Vec<Variant>,
    cases: Vec<Case>,
}

/// The folder of the vectors.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../goldens")
}

fn parsed<T: serde::de::DeserializeOwned>(file: &str) -> T {
    let file = folder().join(file);
    let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

fn index() -> Index {
    parsed("index.json")
}

/// An index of networks of its own.
#[derive(Deserialize)]
struct Further {
    networks: Vec<Entry>,
}

/// The networks that relevance propagation was compared on, in the order of `lrp.json`.
///
/// # Panics
/// When a file is missing or does not hold what the index says.
pub fn load_lrp() -> Vec<Golden> {
    parsed::<Further>("lrp.json").networks.into_iter().map(read).collect()
}

/// What PyTorch's hooks and autograd see inside a network.
#[derive(Debug, Clone)]
pub struct Inside {
    /// The network's name.
    pub name: String,
    /// By file: module to the value that it gives there.
    pub layers: BTreeMap<String, BTreeMap<String, String>>,
    arrays: BTreeMap<String, ArrayD<f64>>,
}

#[derive(Deserialize)]
struct InsideIndex {
    networks: Vec<InsideEntry>,
}

#[derive(Deserialize)]
struct InsideEntry {
    name: String,
    arrays: String,
    layers: BTreeMap<String, BTreeMap<String, String>>,
}

/// The networks that were looked into, in the order of `inspect.json`.
///
/// # Panics
/// When a file is missing or does not hold what the index says.
pub fn load_inside() -> Vec<Inside> {
    let read = |entry: InsideEntry| {
        let mut arrays = BTreeMap::new();
        read_arrays(&entry.arrays, &mut arrays, &mut BTreeMap::new());
        Inside { name: entry.name, layers: entry.layers, arrays }
    };
    parsed::<InsideIndex>("inspect.json").networks.into_iter().map(read).collect()
}

impl Inside {
    /// The array under `key`: `activation:MODULE`, `error:target:MODULE`, `error:loss:MODULE`.
    ///
    /// # Panics
    /// When there is none.
    pub fn array(&self, key: &str) -> &ArrayD<f64> {
        let found = self.arrays.get(key);
        found.unwrap_or_else(|| panic!("{}: no array is called `{key}`", self.name))
    }

    /// Parameter to the derivative of the mean loss by it.
    pub fn gradients(&self) -> BTreeMap<&str, &ArrayD<f64>> {
        let named = self.arrays.iter();
        named.filter_map(|(key, array)| Some((key.strip_prefix("gradient:")?, array))).collect()
    }
}

/// The tolerances that go with the vectors.
pub fn tolerances() -> Tolerances {
    index().tolerances
}

/// All networks, in the order of the index.
///
/// # Panics
/// When a file is missing or does not hold what the index says.
pub fn load() -> Vec<Golden> {
    index().networks.into_iter().map(read).collect()
}

/// The network called `name`.
///
/// # Panics
/// When there is none, or a file is broken.
pub fn load_one(name: &str) -> Golden {
    let entry = index().networks.into_iter().find(|n| n.name == name);
    read(entry.unwrap_or_else(|| panic!("no golden network is called `{name}`")))
}

fn read(entry: Entry) -> Golden {
    let mut arrays = BTreeMap::new();
    let mut classes = BTreeMap::new();
    read_arrays(&entry.arrays, &mut arrays, &mut classes);
    let mut cases = entry.cases;
    let mut variants = entry.variants;
    for file in ["cam.json", "deeplift.json", "layers.json", "points.json"] {
        for more in parsed::<More>(file).networks.into_iter().filter(|more| more.name == entry.name) {
            read_arrays(&more.arrays, &mut arrays, &mut classes);
            for variant in &mut variants {
                variant.layers.extend(more.layers.get(&variant.file).cloned().unwrap_or_default());
            }
            cases.extend(more.cases);
        }
    }
    Golden {
        target: classes
            .get("target")
            .cloned()
            .unwrap_or_else(|| panic!("{} holds no `target`", entry.arrays)),
        name: entry.name,
        covers: entry.covers,
        smooth: entry.smooth,
        last_spatial: entry.last_spatial,
        training: entry.training,
        variants,
        cases,
        arrays,
        classes,
    }
}

/// Adds a file's arrays: classes, whose keys end in `target`, and all others.
fn read_arrays(
    file: &str,
    arrays: &mut BTreeMap<String, ArrayD<f64>>,
    classes: &mut BTreeMap<String, ArrayD<i64>>,
) {
    let path = folder().join(file);
    let broken = |what: &dyn std::fmt::Display| -> ! { panic!("{}: {what}", path.display()) };
    let file = File::open(&path).unwrap_or_else(|e| broken(&e));
    let mut npz = NpzReader::new(file).unwrap_or_else(|e| broken(&e));
    for name in npz.names().unwrap_or_else(|e| broken(&e)) {
        if name.rsplit(':').next() == Some("target") {
            let array = npz.by_name(&name).unwrap_or_else(|e| broken(&e));
            classes.insert(name, array);
        } else {
            let array = npz.by_name(&name).unwrap_or_else(|e| broken(&e));
            arrays.insert(name, array);
        }
    }
}

impl Golden {
    /// The array under `key`.
    ///
    /// # Panics
    /// When there is none.
    pub fn array(&self, key: &str) -> &ArrayD<f64> {
        let found = self.arrays.get(key);
        found.unwrap_or_else(|| panic!("{}: no array is called `{key}`", self.name))
    }

    /// The input, `[n, …]`; its numbers are float32 numbers.
    pub fn input(&self) -> &ArrayD<f64> {
        self.array("input")
    }

    /// The class explained in a case, one a row: `[n]`.
    ///
    /// # Panics
    /// When the case names classes that are not there.
    pub fn target_of(&self, case: &Case) -> &ArrayD<i64> {
        let Some(key) = &case.target else { return &self.target };
        self.classes.get(key).unwrap_or_else(|| panic!("{}: no classes are called `{key}`", self.name))
    }

    /// The baseline of a case, `[1, …]`, where its method has one.
    pub fn baseline(&self, case: &Case) -> Option<ArrayD<f64>> {
        let key = case.baseline.as_deref()?;
        if key != "zero" {
            return Some(self.array(key).clone());
        }
        let mut shape = self.input().shape().to_vec();
        shape[0] = 1;
        Some(ArrayD::zeros(IxDyn(&shape)))
    }

    /// The noise of a case, `[samples, n, …]`, where its method has one.
    pub fn noise(&self, case: &Case) -> Option<&ArrayD<f64>> {
        Some(self.array(case.noise.as_deref()?))
    }

    /// The background of a case, `[k, …]`, where its method draws from one.
    pub fn background(&self, case: &Case) -> Option<&ArrayD<f64>> {
        Some(self.array(case.background.as_deref()?))
    }

    /// The masks of a case, `[samples, …]` over the input's space, where its method has some.
    pub fn masks(&self, case: &Case) -> Option<&ArrayD<f64>> {
        Some(self.array(case.masks.as_deref()?))
    }

    /// The numbers that choose a background, and the positions, of a case whose method draws them.
    pub fn draws(&self, case: &Case) -> Option<(Vec<i64>, Vec<f64>)> {
        #[expect(clippy::cast_possible_truncation, reason = "the file holds whole numbers below 2³¹")]
        let pick = || self.array("pick").iter().map(|pick| *pick as i64).collect();
        case.draws.then(|| (pick(), self.array("position").iter().copied().collect()))
    }

    /// Parameter to the derivative of the sum of the target logits; empty where none were made.
    pub fn weight_gradients(&self) -> BTreeMap<&str, &ArrayD<f64>> {
        self.under("weight-gradient:")
    }

    /// Parameter to its value after this step of SGD, counted from 1.
    pub fn after_step(&self, step: usize) -> BTreeMap<&str, &ArrayD<f64>> {
        self.under(&format!("training:{step}:"))
    }

    fn under(&self, prefix: &str) -> BTreeMap<&str, &ArrayD<f64>> {
        let named = self.arrays.iter();
        named.filter_map(|(key, array)| Some((key.strip_prefix(prefix)?, array))).collect()
    }
}

impl Variant {
    /// Where the file is.
    pub fn path(&self) -> PathBuf {
        folder().join(&self.file)
    }

    /// The file's bytes.
    ///
    /// # Panics
    /// When it cannot be read.
    pub fn bytes(&self) -> Vec<u8> {
        let path = self.path();
        fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }
}

impl Weight {
    /// `array`, in the parameter's shape, as the initializer of shape `shape` has it.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub fn in_file(&self, array: &ArrayD<f64>, shape: &[usize]) -> ArrayD<f64> {
        let laid = match self.layout {
            Layout::Transposed => array.t().to_owned(),
            Layout::Same | Layout::Reshaped => array.clone(),
        };
        let elements = laid.iter().copied().collect();
        ArrayD::from_shape_vec(IxDyn(shape), elements)
            .unwrap_or_else(|e| panic!("{}: {:?} does not fit {shape:?}: {e}", self.value, array.shape()))
    }
}

/// The largest difference of two arrays, each row's as a part of the largest |wanted| of that row.
///
/// Rows are along the first axis. A missing number (NaN) counts as infinitely far.
///
/// # Panics
/// When the shapes differ, or a row of `wanted` is zero or constant: such a reference checks nothing.
pub fn row_deviation(found: &ArrayD<f64>, wanted: &ArrayD<f64>) -> f64 {
    assert_eq!(found.shape(), wanted.shape(), "the shapes differ");
    let rows = found.axis_iter(Axis(0)).zip(wanted.axis_iter(Axis(0)));
    let deviation = |(found, wanted): (ndarray::ArrayViewD<f64>, ndarray::ArrayViewD<f64>)| {
        let largest = wanted.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
        let low = wanted.iter().fold(f64::INFINITY, |m, v| m.min(*v));
        let high = wanted.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
        assert!(largest > 0.0, "a row of the reference is zero");
        assert!(wanted.len() == 1 || high > low, "a row of the reference is constant");
        let far = |(f, w): (&f64, &f64)| if f.is_nan() { f64::INFINITY } else { (f - w).abs() };
        found.iter().zip(&wanted).map(far).fold(0.0, f64::max) / largest
    };
    rows.map(deviation).fold(0.0, f64::max)
}

/// [`row_deviation`] of arrays that have no batch axis, such as a weight's derivative: all is one row.
pub fn whole_deviation(found: &ArrayD<f64>, wanted: &ArrayD<f64>) -> f64 {
    row_deviation(&found.clone().insert_axis(Axis(0)), &wanted.clone().insert_axis(Axis(0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr2;

    #[test]
    fn every_network_has_its_files_and_its_arrays() {
        let goldens = load();
        assert!(goldens.len() >= 20, "{} networks", goldens.len());
        for golden in &goldens {
            let n = golden.input().shape()[0];
            assert_eq!(golden.target.shape(), [n]);
            assert_eq!(golden.variants.len(), 4, "{}", golden.name);
            for variant in &golden.variants {
                assert!(variant.bytes().len() > 100, "{}", variant.file);
            }
            for case in &golden.cases {
                let wanted = golden.array(&case.key);
                assert_eq!(wanted.shape()[0], n, "{} {}", golden.name, case.key);
                // Other methods may look at a layer as well.
                if case.method.ends_with("-cam") || case.method.contains("-cam-") {
                    assert!(case.layer.is_some(), "{} {}", golden.name, case.key);
                }
                assert_eq!(golden.target_of(case).shape(), [n]);
                if let Some(layer) = &case.layer {
                    assert!(golden.variants.iter().all(|v| v.layers.contains_key(layer)));
                }
                // Maps of every channel, at the input's resolution.
                let one_map = matches!(case.method.as_str(), "full-grad" | "rise");
                if case.layer.is_none() && !one_map {
                    assert_eq!(wanted.shape(), golden.input().shape(), "{}", case.key);
                }
                let noisy =
                    matches!(case.method.as_str(), "smoothgrad" | "squaregrad" | "vargrad" | "gradient-shap")
                        || case.key.ends_with(":smooth");
                assert_eq!(golden.noise(case).is_some(), noisy, "{}", case.key);
                // Every row of the background is taken, and none drawn.
                let drawn = case.method != "deep-shap";
                assert_eq!(golden.draws(case).is_some(), golden.background(case).is_some() && drawn);
                // Panics where a row says nothing.
                assert!(row_deviation(wanted, wanted).abs() < f64::EPSILON);
            }
            for (name, wanted) in golden.weight_gradients() {
                assert!(whole_deviation(wanted, wanted).abs() < f64::EPSILON);
                let unfolded = golden.variants.iter().filter(|v| !v.folded);
                assert!(unfolded.into_iter().all(|v| v.weights.contains_key(name)));
            }
        }
    }

    #[test]
    fn there_are_weights_and_training_steps() {
        let goldens = load();
        let with_weights = goldens.iter().filter(|g| !g.weight_gradients().is_empty());
        assert!(with_weights.count() >= 6);
        let trained: Vec<_> = goldens.iter().filter(|g| g.training.is_some()).collect();
        assert_eq!(trained.len(), 2);
        for golden in trained {
            assert_eq!(golden.after_step(1).len(), golden.weight_gradients().len());
            assert_ne!(golden.after_step(1), golden.after_step(2));
        }
    }

    #[test]
    fn deviation_is_of_each_rows_maximum() {
        let wanted = arr2(&[[1.0, 2.0], [100.0, -200.0]]).into_dyn();
        let mut found = wanted.clone();
        found[[0, 0]] += 0.02;
        found[[1, 0]] += 0.02;
        assert!((row_deviation(&found, &wanted) - 0.01).abs() < 1e-12);
        found[[1, 1]] = f64::NAN;
        assert!(row_deviation(&found, &wanted).is_infinite());
    }

    #[test]
    #[should_panic(expected = "a row of the reference is zero")]
    fn a_zero_reference_fails() {
        let wanted = arr2(&[[1.0, 2.0], [0.0, 0.0]]).into_dyn();
        row_deviation(&wanted, &wanted);
    }

    #[test]
    #[should_panic(expected = "a row of the reference is constant")]
    fn a_constant_reference_fails() {
        let wanted = arr2(&[[3.0, 3.0], [0.0, 1.0]]).into_dyn();
        row_deviation(&wanted, &wanted);
    }

    #[test]
    fn a_transposed_weight_is_laid_as_in_the_file() {
        let weight = Weight { value: "w".into(), layout: Layout::Transposed };
        let array = arr2(&[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).into_dyn();
        let expected = arr2(&[[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]).into_dyn();
        assert_eq!(weight.in_file(&array, &[3, 2]), expected);
    }
}
