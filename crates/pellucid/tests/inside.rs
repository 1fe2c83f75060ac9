//! One number taken apart, neurons tabulated, strongest examples, and faults of networks that are damaged on purpose.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs;

use ndarray::{ArrayD, Axis, Slice};
use pellucid::inspect::{FaultKind, Link, Reference, StrongestOptions, feature_maps, full, strongest, trace};
use pellucid::npy::read_arrays;
use pellucid::render::json;
use pellucid::{
    Array, Engine, Error, Examples, Format, Inputs, InspectOptions, Inspection, Judge, Limits, Model,
    Outputs, RightAnswers, Silent, inspect,
};
use pellucid_testkit::golden::{self, folder};

fn exact(judge: Judge) -> InspectOptions {
    let limits = Limits { engine: Engine::Reference, ..Limits::default() };
    InspectOptions { judge, limits, ..InspectOptions::default() }
}

fn right(classes: &[i64]) -> Judge {
    Judge::Loss(RightAnswers::Classes(classes.to_vec()))
}

fn close(what: &str, found: f64, wanted: f64) {
    assert!((found - wanted).abs() <= 1e-6 * wanted.abs().max(1.0), "{what}: {found}, expected {wanted}");
}

/// The tutorial's network, its input, and PyTorch's numbers of it.
fn tutorial() -> (Model, Inputs, impl Fn(&str) -> ArrayD<f64>) {
    let model = Model::open(folder().join("tutorial.onnx")).unwrap();
    let inputs = model.read(&[folder().join("tutorial.npy")]).unwrap();
    let arrays = read_arrays(&folder().join("tutorial.npz")).unwrap();
    let array = move |name: &str| {
        let found = arrays.iter().find(|(known, _)| known == name);
        found.unwrap_or_else(|| panic!("no {name}")).1.to_f64()
    };
    (model, inputs, array)
}

#[test]
fn the_table_of_neurons_is_pytorchs() {
    let (model, inputs, array) = tutorial();
    let (layers, judged) = full(&model, &inputs, &exact(right(&[1]))).unwrap();
    close("loss", judged.unwrap().1, array("loss")[[0]]);
    let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
    assert_eq!(names, ["hidden1", "hidden2", "output"]);
    for layer in &layers {
        for (unit, neuron) in layer.neurons.iter().enumerate() {
            let number = |what: &str| array(&format!("{what}:{}", layer.name))[[0, unit]];
            let place = format!("{}[{unit}]", layer.name);
            close(&place, neuron.z, number("z"));
            close(&place, neuron.a, number("a"));
            close(&place, neuron.delta.unwrap(), number("delta"));
            close(&place, neuron.error.unwrap(), number("error"));
        }
        assert_eq!(layer.function.is_some(), layer.name != "output");
    }
    assert!(full(&model, &inputs, &exact(Judge::Nothing)).unwrap().0[0].neurons[0].delta.is_none());
}

#[test]
fn a_neuron_of_the_tutorial_is_its_terms_and_its_error_theirs() {
    let (model, inputs, array) = tutorial();
    let found = trace(&model, &inputs, "hidden2.a[1]", &exact(right(&[1]))).unwrap();
    let sum = found.sum.unwrap();
    close("z", sum.total, array("z:hidden2")[[0, 1]]);
    close("computed", sum.computed, sum.total);
    assert_eq!((sum.terms.len(), sum.window.len()), (3, 0));
    assert!(sum.terms.windows(2).all(|pair| pair[0].product.abs() >= pair[1].product.abs()));
    let gradient = array("gradient:hidden2.weight");
    for term in &sum.terms {
        close("product", term.product, term.input * term.weight);
        close("gradient", term.gradient.unwrap(), gradient[term.weight_place.as_slice()]);
    }
    let [Link::Activation { z, a, slope, formula, .. }] = found.links.as_slice() else {
        panic!("{:?}", found.links)
    };
    close("a", *a, z.tanh());
    close("slope", slope.unwrap(), 1.0 - a * a);
    assert!(formula.contains("e^z"));
    let back = found.back.unwrap();
    close("∂loss/∂a", back.activation.unwrap(), array("error:hidden2")[[0, 1]]);
    close("δ", back.delta, array("delta:hidden2")[[0, 1]]);
    close("δ by its definition", back.delta, back.activation.unwrap() * slope.unwrap());
    // Named before its function, the same sum with the function behind it.
    let before = trace(&model, &inputs, "hidden2.z[1]", &exact(right(&[1]))).unwrap();
    assert_eq!(before.links, found.links);
    close("number", before.number, sum.total);
}

#[expect(clippy::cast_possible_truncation, reason = "the model computes in float32")]
fn golden_inputs(name: &str, file: usize) -> (Model, Inputs) {
    let golden = golden::load_one(name);
    let model = Model::open(golden.variants[file].path()).unwrap();
    let input = model.inputs().next().unwrap().name.clone();
    let array = Array::F32(golden.input().mapv(|value| value as f32));
    (model, Inputs::from_arrays(vec![(input, array)]).unwrap())
}

/// Strides, dilation, groups, padding and batch normalisation: the sum taken apart is the number that was computed.
#[test]
fn windows_of_convolutions_are_summed_as_the_engine_does() {
    for (name, file) in
        [("convolutions", 0), ("convolutions", 1), ("depthwise", 1), ("conv1d", 1), ("conv3d", 0)]
    {
        let (model, inputs) = golden_inputs(name, file);
        let examples = Examples::held(&model, inputs.clone());
        let none = Outputs::new(&[] as &[&str], Format::OF_INSPECTIONS, &[] as &[&str]).unwrap();
        let seen = inspect(&model, &examples, &exact(Judge::Nothing), &none, &Silent).unwrap();
        let mut traced = 0;
        for layer in
            seen.layers.iter().filter(|layer| layer.kind == "Conv" || layer.kind == "BatchNormalization")
        {
            let shape = layer.output_shape.clone().unwrap();
            let sizes: Vec<usize> =
                shape.trim_matches(['[', ']']).split(", ").map(|size| size.parse().unwrap()).collect();
            for place in [vec![0; sizes.len() - 1], sizes[1..].iter().map(|size| size - 1).collect()] {
                let place: Vec<String> = place.iter().map(usize::to_string).collect();
                let neuron = format!("{}[{}]", layer.value, place.join(","));
                let found = trace(&model, &inputs.slice(0..1), &neuron, &exact(right(&[0]))).unwrap();
                let sum = found.sum.unwrap();
                close(&neuron, sum.computed, sum.total);
                assert!(!sum.terms.is_empty() && sum.window.len() == sizes.len() - 2, "{neuron}");
                if let Some(Link::Normalised { before, mean, variance, epsilon, scale, shift, after }) =
                    found.links.first()
                {
                    close(&neuron, *after, scale * (before - mean) / (variance + epsilon).sqrt() + shift);
                }
                traced += 1;
            }
        }
        assert!(traced >= 4, "{name}: {traced}");
    }
}

#[test]
fn a_pooling_passes_its_winner() {
    let (model, inputs) = golden_inputs("cnn", 0);
    let found = trace(&model, &inputs.slice(1..2), "pool[2,3,1]", &exact(right(&[0]))).unwrap();
    let winner = found.winner.unwrap();
    assert_eq!(winner.window.len(), 4);
    close("winner", winner.window[0].1, found.number);
    assert_eq!(winner.window.iter().filter(|(place, _)| place[0] == 2 && place[1] / 2 == 3).count(), 4);
}

#[test]
fn what_cannot_be_traced_is_refused() {
    let (model, inputs, _) = tutorial();
    let refused =
        |neuron: &str| trace(&model, &inputs, neuron, &exact(Judge::Nothing)).unwrap_err().to_string();
    assert!(refused("hidden2.a").contains("expected a layer and a place"), "{}", refused("hidden2.a"));
    assert!(refused("hidden9[1]").contains("no value, node or module is named \"hidden9\""));
    let place = refused("hidden2.a[5]");
    assert!(place.contains("[1, 2]") && place.contains("[5]"), "{place}");
    let (model, inputs) = golden_inputs("softmax_head", 0);
    let softmax =
        trace(&model, &inputs.slice(0..1), "output[0]", &exact(Judge::Nothing)).unwrap_err().to_string();
    assert!(softmax.contains("Softmax, which is not taken apart"), "{softmax}");
}

/// The grey test pictures as `fashion.onnx` takes them, and their classes.
fn pictures() -> (ArrayD<f32>, Vec<i64>) {
    let arrays = read_arrays(&folder().join("fashion.npz")).unwrap();
    let grey = arrays[0].1.to_f32().mapv(|value| value / 255.0).insert_axis(Axis(1));
    (grey, arrays[1].1.as_i64().unwrap().iter().copied().collect())
}

fn normalised(values: &ArrayD<f32>) -> ArrayD<f32> {
    values.mapv(|value| (value - 0.286) / 0.353)
}

/// In warm colours, as `goldens/inspect_fashion.py` makes them.
fn tinted(grey: &ArrayD<f32>) -> ArrayD<f32> {
    let mut rows = Vec::new();
    for (number, row) in (0u16..).zip(grey.axis_iter(Axis(0))) {
        let part = |of: f32| (f32::from(number) * of).fract();
        let parts = [1.0, 0.3 + 0.5 * part(0.618_034), 0.25 * part(0.414_214)];
        let channels: Vec<_> = parts.iter().map(|part| row.mapv(|value| value * part)).collect();
        let views: Vec<_> = channels.iter().map(|array| array.view()).collect();
        rows.push(ndarray::concatenate(Axis(0), &views).unwrap());
    }
    let views: Vec<_> = rows.iter().map(|array| array.view()).collect();
    ndarray::stack(Axis(0), &views).unwrap()
}

fn seen(model: &Model, values: ArrayD<f32>, judge: Judge, reference: Option<Reference>) -> Inspection {
    let name = model.inputs().next().unwrap().name.clone();
    let inputs = Inputs::from_arrays(vec![(name, Array::F32(values))]).unwrap();
    let none = Outputs::new(&[] as &[&str], Format::OF_INSPECTIONS, &[] as &[&str]).unwrap();
    let options = InspectOptions { judge, reference, ..InspectOptions::default() };
    inspect(model, &Examples::held(model, inputs), &options, &none, &Silent).unwrap()
}

fn kinds(inspection: &Inspection) -> Vec<FaultKind> {
    let mut kinds: Vec<FaultKind> = Vec::new();
    for fault in &inspection.faults {
        if !kinds.contains(&fault.kind) {
            kinds.push(fault.kind);
        }
    }
    kinds
}

/// `fashion.onnx` with a weight changed in its bytes.
fn damaged(weight: &str, change: impl Fn(&mut [f32])) -> Model {
    let mut bytes = fs::read(folder().join("fashion.onnx")).unwrap();
    let graph = Model::open(folder().join("fashion.onnx")).unwrap().shared_graph();
    let tensor = graph.constant(graph.find(weight).unwrap()).unwrap();
    let stored = tensor.bytes();
    let at = bytes.windows(stored.len()).position(|window| window == &stored[..]).unwrap();
    let mut values = tensor.to_f32();
    change(&mut values);
    let changed: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    bytes[at..at + changed.len()].copy_from_slice(&changed);
    Model::from_bytes("damaged.onnx", bytes).unwrap()
}

#[test]
fn networks_that_are_well_have_no_fault() {
    let (grey, labels) = pictures();
    let fashion = Model::open(folder().join("fashion.onnx")).unwrap();
    for judge in [Judge::Nothing, right(&labels)] {
        let found = seen(&fashion, normalised(&grey), judge, None);
        assert!(found.faults.is_empty(), "{:?}", found.faults);
    }
    let accuracy = seen(&fashion, normalised(&grey), right(&labels), None).judged.unwrap().accuracy.unwrap();
    assert!(accuracy > 0.85, "{accuracy}");
    let warm = Model::open(folder().join("tinted.onnx")).unwrap();
    for judge in [Judge::Nothing, right(&labels)] {
        let found = seen(&warm, normalised(&tinted(&grey)), judge, None);
        assert!(found.faults.is_empty(), "{:?}", found.faults);
    }
}

#[test]
fn every_damage_is_found() {
    let (grey, _) = pictures();
    let of = |model: &Model| kinds(&seen(model, normalised(&grey), Judge::Nothing, None));
    let scaled = |factor: f32| move |values: &mut [f32]| values.iter_mut().for_each(|value| *value *= factor);
    assert_eq!(of(&damaged("4.bias", |b| b.iter_mut().for_each(|b| *b -= 60.0))), [FaultKind::DeadLayer]);
    let saturated = of(&damaged("11.weight", scaled(60.0)));
    assert!(saturated.contains(&FaultKind::SaturatedLayer), "{saturated:?}");
    let exploding = of(&damaged("7.weight", scaled(1000.0)));
    assert!(exploding.contains(&FaultKind::ExplodingLayer), "{exploding:?}");
    let same = damaged("4.weight", |w| w.copy_within(0..12 * 9, 3 * 12 * 9));
    assert_eq!(of(&same), [FaultKind::DuplicateFilters]);
    let not_finite = of(&damaged("7.bias", |b| b[0] = f32::NAN));
    assert!(not_finite.contains(&FaultKind::ExplodingLayer), "{not_finite:?}");
}

#[test]
fn inputs_that_were_not_prepared_are_found() {
    let (grey, labels) = pictures();
    let fashion = Model::open(folder().join("fashion.onnx")).unwrap();
    let unnormalised = [FaultKind::UnnormalisedInput];
    assert_eq!(kinds(&seen(&fashion, grey.clone(), Judge::Nothing, None)), unnormalised);
    let bytes = kinds(&seen(&fashion, grey.mapv(|value| (value * 255.0).round()), Judge::Nothing, None));
    assert!(bytes.contains(&FaultKind::UnnormalisedInput), "{bytes:?}");
    // Without a description the first batch normalisation tells.
    let mut graph = (*fashion.shared_graph()).clone();
    graph.metadata.clear();
    let bare = Model::from_graph("bare.onnx", graph).unwrap();
    assert_eq!(kinds(&seen(&bare, normalised(&grey), Judge::Nothing, None)), []);
    let far = kinds(&seen(&bare, grey.mapv(|value| 20.0 * value), Judge::Nothing, None));
    assert!(far.contains(&FaultKind::UnnormalisedInput), "{far:?}");
    let warm = Model::open(folder().join("tinted.onnx")).unwrap();
    let good = normalised(&tinted(&grey));
    let swapped = good.select(Axis(1), &[2, 1, 0]);
    for judge in [Judge::Nothing, right(&labels)] {
        assert_eq!(kinds(&seen(&warm, swapped.clone(), judge, None)), [FaultKind::SwappedChannels]);
    }
    // Statistics of an earlier time tell too, from a handful of rows.
    let earlier = json::inspection(&seen(&warm, good.clone(), Judge::Nothing, None)).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), earlier.to_string()).unwrap();
    let few = |values: &ArrayD<f32>| {
        let rows = values.slice_axis(Axis(0), Slice::from(0..12)).to_owned();
        kinds(&seen(&warm, rows, Judge::Nothing, Some(Reference::read(file.path()).unwrap())))
    };
    assert_eq!(few(&good), []);
    assert_eq!(few(&swapped), [FaultKind::SwappedChannels]);
}

/// The strongest examples are those of the whole array, and what lies outside a patch does not matter to its unit.
#[test]
fn a_patch_is_what_the_unit_saw() {
    let (grey, _) = pictures();
    let model = Model::open(folder().join("fashion.onnx")).unwrap();
    let name = model.inputs().next().unwrap().name.clone();
    let values = normalised(&grey);
    let held = |values: ArrayD<f32>| {
        Examples::held(&model, Inputs::from_arrays(vec![(name.clone(), Array::F32(values))]).unwrap())
    };
    let options =
        |count| StrongestOptions { of: "8[3,16]".into(), count, inspect: InspectOptions::default() };
    let found = strongest(&model, &held(values.clone()), &options(4), &Silent).unwrap();
    assert_eq!((found.rows, found.units.len()), (256, 2));
    for unit in &found.units {
        let best = &unit.examples[0];
        assert!(unit.examples.windows(2).all(|pair| pair[0].value >= pair[1].value));
        let (left, top, width, height) = best.patch.unwrap();
        let mut alone = values.slice_axis(Axis(0), Slice::from(best.row..=best.row)).to_owned();
        for ((_, _, y, x), value) in
            alone.view_mut().into_dimensionality::<ndarray::Ix4>().unwrap().indexed_iter_mut()
        {
            let inside =
                |at: usize, from: u32, size: u32| (from as usize..(from + size) as usize).contains(&at);
            if !inside(x, left, width) || !inside(y, top, height) {
                *value = 0.7;
            }
        }
        let maps =
            feature_maps(&model, &held(alone).read(0..1).unwrap(), "8", &InspectOptions::default()).unwrap();
        let number = maps.maps[unit.unit][[best.position[0], best.position[1]]];
        assert!((number - best.value).abs() < 1e-4, "unit {}: {number} {}", unit.unit, best.value);
        let whole =
            feature_maps(&model, &held(values.clone()).read(0..1).unwrap(), "8", &InspectOptions::default());
        let most = whole.unwrap().maps[unit.unit].iter().copied().fold(0f32, f32::max);
        assert!(most <= best.value);
    }
    let of_class = StrongestOptions { of: "Trouser".into(), ..options(5) };
    let found = strongest(&model, &held(values), &of_class, &Silent).unwrap();
    assert_eq!(found.units[0].label.as_deref(), Some("Trouser"));
    let (_, labels) = pictures();
    assert!(found.units[0].examples.iter().all(|example| labels[example.row] == 1));
}

#[test]
fn units_and_layers_that_do_not_exist_are_refused() {
    let (model, inputs, _) = tutorial();
    let examples = Examples::held(&model, inputs.clone());
    let refused = |of: &str| {
        let options = StrongestOptions { of: of.into(), count: 1, inspect: InspectOptions::default() };
        strongest(&model, &examples, &options, &Silent).unwrap_err().to_string()
    };
    assert_eq!(refused("hidden1.a[7]"), "strongest: unit 7 does not exist: \"hidden1.a\" has 3, from 0");
    assert!(refused("nothing").contains("no value, node or module is named \"nothing\""));
    let maps = feature_maps(&model, &inputs, "hidden1.a", &InspectOptions::default());
    assert!(matches!(maps, Err(Error::Setting { .. })));
}
