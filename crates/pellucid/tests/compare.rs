//! Comparing methods: they explain the same class, are told apart and likened as their numbers are, and are drawn together.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use pellucid::compare::parse_methods;
use pellucid::render::{comparison_html, comparison_png, comparison_svg, json, terminal};
use pellucid::{Array, Comparison, Inputs, Model, Options, Silent, compare, explain};
use pellucid_testkit::golden;

#[expect(clippy::cast_possible_truncation, reason = "the model computes in float32")]
fn opened(network: &str) -> (Model, Inputs) {
    let golden = golden::load_one(network);
    let model = Model::open(golden.variants[0].path()).unwrap();
    let name = model.inputs().next().unwrap().name.clone();
    let array = Array::F32(golden.input().mapv(|value| value as f32));
    (model, Inputs::from_arrays(vec![(name, array)]).unwrap())
}

fn compared(network: &str, methods: &str) -> Comparison {
    let (model, inputs) = opened(network);
    compare(&model, &inputs, &parse_methods(methods).unwrap(), &Options::default(), &Silent).unwrap()
}

#[test]
fn each_method_says_what_it_says_alone() {
    let found = compared("cnn", "gradient,input-x-gradient,smoothgrad:samples=3,grad-cam");
    let (model, inputs) = opened("cnn");
    for method in &found.methods {
        let name = method.explanation.method.name.as_str();
        let mut options = Options::new(name);
        if name == "smoothgrad" {
            options = options.set("samples", 3);
        }
        let alone = explain(&model, inputs.clone(), &options, &Silent).unwrap();
        assert_eq!(alone.explained[0].attribution.values, method.explanation.explained[0].attribution.values);
        assert_eq!(alone.explained[0].targets, method.explanation.explained[0].targets);
    }
    assert_eq!(found.correlations.len(), 6);
    assert!(found.correlation(3, 0) == found.correlation(0, 3) && found.correlation(1, 1).is_none());
}

/// The gradient path and integrated gradients are the same; the gradient and itself times −1 would be opposite.
#[test]
fn equal_methods_are_alike() {
    let path = "gradient:points=path:quadrature=trapezoid:steps=9";
    let found = compared(
        "cnn",
        &format!("{path},integrated-gradients:quadrature=trapezoid:steps=9,gradient,occlusion"),
    );
    let same = found.correlation(0, 1).unwrap();
    assert!(same.signed.iter().chain(&same.absolute).all(|value| value.unwrap() > 1.0 - 1e-12));
    let other = found.correlation(0, 2).unwrap();
    assert!(other.mean_signed().unwrap() < 0.95, "{other:?}");
}

#[test]
fn a_comparison_is_drawn_and_told() {
    for (network, methods) in [
        ("cnn", "gradient,grad-cam,occlusion"),
        ("mlp", "gradient,integrated-gradients"),
        ("conv1d", "gradient,input-x-gradient"),
    ] {
        let found = compared(network, methods);
        assert!(comparison_png(&found).unwrap().starts_with(b"\x89PNG"));
        let svg = String::from_utf8(comparison_svg(&found).unwrap()).unwrap();
        let html = String::from_utf8(comparison_html(&found).unwrap()).unwrap();
        let told = json::comparison(&found);
        let text = terminal::comparison(&found, terminal::Style { columns: 80, colours: false });
        for name in methods.split(',') {
            assert!(svg.contains(name) && html.contains(name) && text.contains(name), "{network}: {name}");
        }
        assert!(!html.contains("http:") || !html.contains("src=\"http"), "a page needs nothing else");
        assert_eq!(told["methods"].as_array().unwrap().len(), methods.split(',').count());
        let first = &told["correlations"][0];
        assert!(first["signed"].is_number() && first["rows"].as_array().unwrap().len() == 3, "{first}");
        assert!(told["methods"][0]["seconds"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let (model, inputs) = opened("cnn");
    let two = Options { targets: pellucid::TargetChoice::list("0,1", None), ..Options::default() };
    let error = compare(&model, &inputs, &parse_methods("gradient").unwrap(), &two, &Silent).unwrap_err();
    assert_eq!(error.to_string(), "target: a comparison is of one target a row: give one");
    let settings = parse_methods("smoothgrad:smples=3").unwrap();
    let error = compare(&model, &inputs, &settings, &Options::default(), &Silent).unwrap_err().to_string();
    assert!(error.contains("did you mean \"samples\"?"), "{error}");
}
