//! Attribution to a hidden layer and of a hidden unit: the two options mean the same for every method, go together,
//! and are refused in words that help.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use ndarray::{ArrayD, Axis};
use pellucid::{Array, Engine, Explanation, Inputs, Limits, Model, Options, Silent, TargetChoice, explain};
use pellucid_testkit::golden::{self, Golden};

#[expect(clippy::cast_possible_truncation, reason = "the model computes in float32")]
fn opened(golden: &Golden) -> (Model, Inputs) {
    let model = Model::open(golden.variants[0].path()).unwrap();
    let name = model.inputs().next().unwrap().name.clone();
    let array = Array::F32(golden.input().mapv(|value| value as f32));
    (model, Inputs::from_arrays(vec![(name, array)]).unwrap())
}

fn options(method: &str) -> Options {
    let limits = Limits { engine: Engine::Reference, ..Limits::default() };
    Options { limits, ..Options::new(method) }
}

fn run(network: &str, change: impl FnOnce(&Golden, &mut Options), method: &str) -> Explanation {
    let golden = golden::load_one(network);
    let (model, inputs) = opened(&golden);
    let mut options = options(method);
    change(&golden, &mut options);
    explain(&model, inputs, &options, &Silent).unwrap()
}

fn refused(network: &str, change: impl FnOnce(&Golden, &mut Options), method: &str) -> String {
    let golden = golden::load_one(network);
    let (model, inputs) = opened(&golden);
    let mut options = options(method);
    change(&golden, &mut options);
    explain(&model, inputs, &options, &Silent).unwrap_err().to_string()
}

fn values(explanation: &Explanation) -> &ArrayD<f32> {
    &explanation.explained[0].attribution.values[0].1
}

fn layer(golden: &Golden, module: &str) -> Option<String> {
    golden.variants[0].layers.get(module).cloned()
}

/// Largest distance as a part of the largest value.
fn distance(a: &ArrayD<f32>, b: &ArrayD<f32>) -> f32 {
    let most = b.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    assert!(most > 0.0, "a reference of zeros proves nothing");
    (a - b).iter().fold(0.0f32, |far, value| far.max(value.abs())) / most
}

#[test]
fn the_input_is_a_layer_like_any_other() {
    for method in ["gradient", "input-x-gradient", "integrated-gradients", "gradient-shap", "smoothgrad"] {
        let class = |_: &Golden, options: &mut Options| options.targets = vec![TargetChoice::Index(1)];
        let to_inputs = run("cnn", class, method);
        let to_layer = run(
            "cnn",
            |golden, options| {
                class(golden, options);
                options.layer = Some(opened(golden).0.inputs().next().unwrap().name.clone());
            },
            method,
        );
        assert_eq!(values(&to_inputs), values(&to_layer), "{method}");
        assert!(to_layer.layer.is_some() && to_layer.notes.iter().all(|note| !note.contains("passes")));
    }
}

/// Layer × gradient is the product of what they are; and what a layer gives by itself is what its consumers get.
#[test]
fn layer_times_gradient_is_the_product() {
    let at = |module: &'static str| {
        move |golden: &Golden, options: &mut Options| {
            options.layer = layer(golden, module);
            options.targets = vec![TargetChoice::Index(2)];
        }
    };
    let gradient = run("residual", at("0.relu2"), "gradient");
    let product = run("residual", at("0.relu2"), "input-x-gradient");
    let golden = golden::load_one("residual");
    let (model, inputs) = opened(&golden);
    let activation = explain(
        &model,
        inputs,
        &Options {
            layer: layer(&golden, "0.relu2"),
            neuron: Some("output".to_owned() + "[2]"),
            ..options("gradient")
        },
        &Silent,
    )
    .unwrap();
    assert_eq!(values(&activation), values(&gradient), "a class is a unit of the output");
    assert_eq!(values(&product).shape(), values(&gradient).shape());
    let ratio = values(&product) / values(&gradient);
    assert!(
        ratio.iter().all(|ratio| ratio.is_nan() || *ratio >= 0.0),
        "a rectifier's values are not negative"
    );
    assert!(ratio.iter().any(|ratio| *ratio > 0.0));
}

/// A mean over space is the mean of its units, and so are its derivatives.
#[test]
fn a_channel_is_the_mean_of_its_units() {
    let golden = golden::load_one("cnn");
    let name = layer(&golden, "relu2").unwrap();
    let unit = |index: String| {
        run("cnn", |_, options| options.neuron = Some(format!("{name}[{index}]")), "gradient")
    };
    let channel = unit("1".to_owned());
    let shape = {
        let of = run("cnn", |golden, options| options.layer = layer(golden, "relu2"), "gradient");
        values(&of).shape().to_vec()
    };
    let mut sum = ArrayD::<f32>::zeros(values(&channel).raw_dim());
    let mut score = 0.0;
    for y in 0..shape[2] {
        for x in 0..shape[3] {
            let one = unit(format!("1,{y},{x}"));
            sum += values(&one);
            score += one.explained[0].attribution.score[0];
        }
    }
    let count = (shape[2] * shape[3]) as f32;
    assert!(distance(&(sum / count), values(&channel)) < 1e-5);
    let found = channel.explained[0].attribution.score[0];
    assert!((score / count - found).abs() < 1e-5 * found.abs(), "{score} and {found}");
    assert_eq!(channel.neuron.as_deref(), Some(format!("{name}[1]").as_str()));
    assert_eq!(channel.explained[0].targets[0].class(), None);
    assert!(channel.prediction.probabilities(0).is_some(), "the prediction stays the model's");
}

/// Every method that takes a target takes a hidden unit; those that compile and those that run on the host.
#[test]
fn every_method_takes_a_unit() {
    let golden = golden::load_one("cnn");
    let name = layer(&golden, "relu2").unwrap();
    let (model, inputs) = opened(&golden);
    for definition in pellucid::methods::all() {
        let mut options = Options { neuron: Some(format!("{name}[0]")), ..Options::new(definition.name) };
        for (key, value) in [("samples", "4"), ("steps", "9")] {
            if definition.parameters.iter().any(|parameter| parameter.name == key) {
                options = options.set(key, value);
            }
        }
        let found = match explain(&model, inputs.clone(), &options, &Silent) {
            Ok(found) => found,
            Err(error) => panic!("{}: {error}", definition.name),
        };
        let attribution = &found.explained[0].attribution;
        let any = attribution.values[0].1.iter().any(|value| *value != 0.0);
        assert!(any || definition.name.contains("cam"), "{}: all is zero", definition.name);
        assert!(attribution.score.iter().all(|score| *score >= 0.0), "{}", definition.name);
    }
}

/// A complete method to a layer that everything passes sums to the whole difference; to one that is passed by, to the
/// part, and says so.
#[test]
fn a_path_at_a_layer_is_complete() {
    for (network, module, whole) in [("cnn", "relu2", true), ("residual", "0.relu1", false)] {
        let found = run(
            network,
            |golden, options| {
                options.layer = layer(golden, module).or(Some(module.to_owned()));
                options.settings = vec![("tolerance".to_owned(), "0.001".to_owned())];
            },
            "integrated-gradients",
        );
        let attribution = &found.explained[0].attribution;
        let (gap, baseline) =
            (attribution.gap.as_ref().unwrap(), attribution.baseline_score.as_ref().unwrap());
        for row in 0..attribution.rows() {
            let change = (attribution.score[row] - baseline[row]).abs();
            assert!(gap[row].abs() < 2e-3 * change.max(1e-3), "{network}: {} of {change}", gap[row]);
        }
        assert_eq!(found.notes.iter().any(|note| note.contains("passes")), !whole, "{:?}", found.notes);
        let at_input = run(network, |_, _| {}, "integrated-gradients");
        let from = at_input.explained[0].attribution.baseline_score.as_ref().unwrap();
        let same = (baseline - from).iter().all(|difference| difference.abs() < 1e-4);
        assert_eq!(same, whole, "{network}: {baseline} and {from}");
    }
}

#[test]
fn drawn_baselines_at_a_layer_are_complete_in_expectation() {
    let found = run(
        "cnn",
        |golden, options| {
            options.layer = layer(golden, "relu2");
            options.settings = vec![("samples".to_owned(), "400".to_owned())];
        },
        "expected-gradients",
    );
    let attribution = &found.explained[0].attribution;
    let (gap, error) = (attribution.gap.as_ref().unwrap(), attribution.gap_std_error.as_ref().unwrap());
    for row in 0..attribution.rows() {
        assert!(gap[row].abs() < 4.0 * error[row].max(1e-5), "{} of ±{}", gap[row], error[row]);
    }
    assert_eq!(values(&found).len_of(Axis(0)), attribution.rows());
}

#[test]
fn what_cannot_be_is_refused_in_words_that_help() {
    let unit =
        |text: &'static str| move |_: &Golden, options: &mut Options| options.neuron = Some(text.to_owned());
    let to =
        |text: &'static str| move |_: &Golden, options: &mut Options| options.layer = Some(text.to_owned());
    assert_eq!(
        refused("cnn", unit("relu2"), "gradient"),
        "neuron \"relu2\": expected a layer and a place in it counted from 0, such as LAYER[3] or LAYER[3,1,2]"
    );
    assert!(refused("cnn", unit("relu3[1]"), "gradient").contains("did you mean \"relu"));
    assert!(
        refused("cnn", to("/relu2/Relu_output"), "gradient")
            .contains("did you mean \"/relu2/Relu_output_0\"?")
    );
    let far = refused("cnn", unit("relu2[1,0,99]"), "gradient");
    assert!(far.contains("so number 3 must be below"), "{far}");
    let deep = refused("cnn", unit("relu2[1,0,0,0]"), "gradient");
    assert!(deep.contains("so a place has at most 3 numbers; found 4"), "{deep}");
    let with_class = |golden: &Golden, options: &mut Options| {
        options.targets = vec![TargetChoice::Top];
        options.neuron = Some(layer(golden, "relu2").unwrap() + "[0]");
    };
    assert!(refused("cnn", with_class, "gradient").contains("leave the target out"));
    let outside = refused("cnn", to("relu2"), "occlusion");
    assert!(outside.contains("occlusion is of the inputs and has no values at a layer"), "{outside}");
    let backwards = |golden: &Golden, options: &mut Options| {
        options.neuron = Some(layer(golden, "conv2").unwrap() + "[0]");
        options.layer = layer(golden, "relu2");
    };
    let after = refused("cnn", backwards, "gradient");
    assert!(after.contains("does not depend on layer"), "{after}");
    let itself = |golden: &Golden, options: &mut Options| {
        options.neuron = Some(layer(golden, "relu2").unwrap() + "[0]");
        options.layer = layer(golden, "relu2");
    };
    assert!(refused("cnn", itself, "gradient").contains("is what is explained itself"));
    let weight = |golden: &Golden, options: &mut Options| {
        options.layer = Some(golden.variants[0].weights.values().next().unwrap().value.clone());
    };
    assert!(refused("cnn", weight, "gradient").contains("is a constant of the model"));
}

/// Everything passes the layer, so conductances sum to the change of the score; where a layer is passed by, no gap is
/// promised, and that is said.
#[test]
fn conductance_is_complete_where_everything_passes() {
    for (network, module, whole) in
        [("cnn", "relu2", true), ("mlp", "2", true), ("residual", "0.relu1", false)]
    {
        let found = run(
            network,
            |golden, options| {
                options.layer = layer(golden, module).or(Some(module.to_owned()));
                options.settings = vec![("tolerance".to_owned(), "0.001".to_owned())];
            },
            "conductance",
        );
        let attribution = &found.explained[0].attribution;
        assert_eq!(attribution.gap.is_some(), whole, "{network}");
        assert_eq!(found.notes.iter().any(|note| note.contains("passes")), !whole, "{:?}", found.notes);
        let Some(gap) = &attribution.gap else { continue };
        let baseline = attribution.baseline_score.as_ref().unwrap();
        for row in 0..attribution.rows() {
            let change = (attribution.score[row] - baseline[row]).abs();
            assert!(gap[row].abs() < 2e-3 * change.max(1e-3), "{network}: {} of {change}", gap[row]);
        }
    }
}

/// At the input itself conductance is integrated gradients, and internal influence their mean derivative.
#[test]
fn at_the_input_layers_methods_are_those_of_inputs() {
    let fixed = |golden: &Golden, options: &mut Options| {
        options.targets = vec![TargetChoice::Index(0)];
        options.settings = vec![("quadrature".to_owned(), "gauss-legendre".to_owned())];
        options.layer = Some(opened(golden).0.inputs().next().unwrap().name.clone());
    };
    let integrated = run("cnn", fixed, "integrated-gradients");
    let derivative = |golden: &Golden, options: &mut Options| {
        fixed(golden, options);
        options.settings.push(("form".to_owned(), "derivative".to_owned()));
    };
    let conductance = run("cnn", derivative, "conductance");
    assert!(distance(values(&conductance), values(&integrated)) < 1e-6);
    let trapezoid = |golden: &Golden, options: &mut Options| {
        fixed(golden, options);
        options.settings =
            vec![("quadrature".to_owned(), "trapezoid".to_owned()), ("steps".to_owned(), "9".to_owned())];
    };
    let changes = run("cnn", trapezoid, "conductance");
    assert!(distance(values(&changes), values(&run("cnn", trapezoid, "integrated-gradients"))) < 1e-6);
    let influence = run("cnn", fixed, "internal-influence");
    let golden = golden::load_one("cnn");
    #[expect(clippy::cast_possible_truncation, reason = "the model computes in float32")]
    let x = golden.input().mapv(|value| value as f32);
    assert!(distance(&(values(&influence) * &x), values(&integrated)) < 1e-6);
}

/// Method, layer, unit, settings.
type Case<'a> = (&'a str, &'a Option<String>, &'a Option<String>, &'a [(&'a str, &'a str)]);

/// A file gives what the host computes: to a layer, of a unit, both; along a path, and from drawn baselines.
#[test]
fn files_give_what_the_host_computes() {
    use pellucid::{ArtefactBaseline, ArtefactOptions, Baseline, compile, predict};
    let golden = golden::load_one("cnn");
    let (model, inputs) = opened(&golden);
    let (relu1, relu2) = (layer(&golden, "relu1"), layer(&golden, "relu2"));
    let unit = relu2.as_ref().map(|name| format!("{name}[1]"));
    let fixed = [("quadrature", "gauss-legendre"), ("steps", "5")];
    let derivative = [("form", "derivative"), ("quadrature", "trapezoid"), ("steps", "5")];
    let cases: [Case<'_>; 10] = [
        ("gradient", &relu2, &None, &[]),
        ("input-x-gradient", &relu1, &unit, &[]),
        ("gradient", &None, &unit, &[]),
        ("guided-backprop", &None, &unit, &[]),
        ("integrated-gradients", &relu2, &None, &fixed),
        ("integrated-gradients", &None, &unit, &fixed),
        ("internal-influence", &relu1, &None, &fixed),
        ("conductance", &relu1, &unit, &fixed),
        ("conductance", &relu1, &None, &derivative),
        ("expected-gradients", &relu2, &None, &[("samples", "3")]),
    ];
    for (method, layer, neuron, settings) in cases {
        let mut options = Options { layer: layer.clone(), neuron: neuron.clone(), ..options(method) };
        for (key, value) in settings {
            options = options.set(key, value);
        }
        let targets = if neuron.is_some() { Vec::new() } else { vec![TargetChoice::Index(3)] };
        let zero = || ArtefactBaseline::Fixed(Baseline::Zero);
        for chunk in ["1", "2"] {
            let path = settings.iter().any(|(key, _)| *key == "steps");
            let with = if path { options.clone().set("chunk", chunk) } else { options.clone() };
            let wanted = ArtefactOptions { targets: targets.clone(), baseline: zero(), background: zero() };
            let made = compile(&model, &with, &wanted).unwrap();
            assert!(made.inputs.is_empty(), "{method}: {:?}", made.inputs);
            assert!(made.outputs.contains(&"score".to_owned()));
            let file = Model::from_bytes("file", made.bytes).unwrap();
            let out = predict(&file, &inputs, None, &with.limits, &Silent).unwrap();
            let array = |name: &str| out.outputs.iter().find(|(key, _)| key == name).unwrap().1.to_f32();
            let host =
                explain(&model, inputs.clone(), &Options { targets: targets.clone(), ..with }, &Silent)
                    .unwrap();
            let far = distance(&array("attribution"), values(&host));
            assert!(far < 1e-5, "{method} to {layer:?} of {neuron:?}: {far}");
            let score = array("score");
            let expected = host.explained[0].attribution.score.clone().into_dyn();
            assert!(distance(&score, &expected) < 1e-5, "{method}: {score} and {expected}");
        }
    }
}

/// A layer has its channels first, even where its last size is that of a picture's channels.
#[test]
fn a_small_layer_is_drawn_as_its_sum_over_channels() {
    use pellucid::render::heat::{Drawn, draw_row};
    let found = run("cnn", |golden, options| options.layer = layer(golden, "relu2"), "input-x-gradient");
    let explained = &found.explained[0];
    assert!(matches!(values(&found).shape(), [_, 6, 4, 3]), "its last size is 3");
    let Drawn::Map(map) = draw_row(&found, explained, 0, 0) else { panic!("expected a map") };
    assert_eq!(map.values.dim(), (4, 3));
    assert_eq!(map.summed, "sum over channels");
    assert!(pellucid::render::png(&found, 0).unwrap().starts_with(b"\x89PNG"));
    let page = String::from_utf8(pellucid::render::html(&found).unwrap()).unwrap();
    assert!(page.contains("relu2"));
    let vector = run("mlp", |_, options| options.layer = Some("3".to_owned()), "gradient");
    assert!(matches!(draw_row(&vector, &vector.explained[0], 0, 0), Drawn::Bars { .. }));
}

/// Propagation stops at the layer: what DeepLIFT gives there sums to the change of the score where everything passes,
/// and of a hidden unit to the unit's.
#[test]
fn deeplift_stops_at_the_layer() {
    for (network, module, unit) in
        [("cnn", "relu2", None), ("mlp", "3", None), ("cnn", "relu1", Some("relu2"))]
    {
        let found = run(
            network,
            |golden, options| {
                options.layer = layer(golden, module).or(Some(module.to_owned()));
                options.neuron = unit.map(|unit| layer(golden, unit).unwrap() + "[1]");
            },
            "deeplift",
        );
        let attribution = &found.explained[0].attribution;
        let gap = attribution.gap.as_ref().unwrap();
        for row in 0..attribution.rows() {
            let size: f32 = attribution.row(0, row).iter().map(|value| value.abs()).sum();
            assert!(gap[row].abs() < 1e-5 * size.max(1e-3), "{network}: {} of {size}", gap[row]);
            assert!(size > 0.0, "{network}: nothing arrives");
        }
    }
}

/// Relevance stops at the layer: behind a linear head it is the contribution of each unit, all of the score but the
/// bias; of a unit it starts from the unit's value; and a layer that is folded away is said to be.
#[test]
fn relevance_stops_at_the_layer() {
    let to = |module: &'static str| {
        move |golden: &Golden, options: &mut Options| {
            options.targets = vec![TargetChoice::Index(1)];
            options.layer = layer(golden, module);
        }
    };
    let relevance = run("cnn", to("relu2"), "lrp-epsilon");
    let product = run("cnn", to("relu2"), "input-x-gradient");
    assert!(distance(values(&relevance), values(&product)) < 1e-4, "one linear layer follows");
    let attribution = &relevance.explained[0].attribution;
    let gap = attribution.gap.as_ref().unwrap();
    let sum: f32 = attribution.row(0, 0).sum();
    assert!((attribution.score[0] - sum - gap[0]).abs() < 1e-5, "the gap is what the bias keeps");
    let passed_by = run("residual", |_, options| options.layer = Some("0.relu1".to_owned()), "lrp-epsilon");
    assert_eq!(passed_by.explained[0].attribution.gap, None);
    assert!(passed_by.notes.iter().any(|note| note.contains("passes")), "{:?}", passed_by.notes);
    let of_unit = |golden: &Golden, options: &mut Options| {
        options.neuron = Some(layer(golden, "relu2").unwrap() + "[1]");
        options.layer = layer(golden, "relu1");
    };
    let unit = run("cnn", of_unit, "lrp-epsilon-plus");
    assert_eq!(values(&unit).shape()[1], 4);
    assert!(unit.explained[0].attribution.gap.is_some());
    let golden = golden::load_one("residual");
    let unfolded = golden.variants.iter().find(|variant| variant.file.ends_with("torchscript.unfolded.onnx"));
    let model = Model::open(unfolded.unwrap().path()).unwrap();
    let (_, inputs) = opened(&golden);
    let gone = Options { layer: Some("0.conv1".to_owned()), ..options("lrp-epsilon") };
    let error = explain(&model, inputs, &gone, &Silent).unwrap_err().to_string();
    assert!(error.contains("folds a batch normalisation and the layer beside it"), "{error}");
}
