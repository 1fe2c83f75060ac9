//! Invented explanations for the tests of this module.

use std::sync::Arc;

use image::{Rgb, RgbImage};
use ndarray::{Array1, Array2, ArrayD, IxDyn};

use crate::array::Array;
use crate::attribution::{
    Attribution, Explained, Explanation, MethodSummary, Prediction, Settings, Target, Unit,
};
use crate::input::{Inputs, Row};
use crate::labels::Labels;
use crate::photograph::Photograph;
use crate::preprocessing::{ImageInput, Layout};
use crate::space::Spaces;

/// A hill around (x, y), all in parts of the side.
fn hill(row: usize, column: usize, side: usize, (x, y, radius): (f32, f32, f32)) -> f32 {
    let (dx, dy) = ((column as f32 / side as f32 - x) / radius, (row as f32 / side as f32 - y) / radius);
    (-(dx * dx + dy * dy)).exp()
}

/// A number between −1 and 1 that looks random.
fn noise(seed: usize) -> f32 {
    let scrambled =
        (seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(31).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (scrambled >> 40) as f32 / (1u64 << 23) as f32 - 1.0
}

/// Attributions to a square input of three channels; signed ones have evidence against, too.
pub(crate) fn invented(side: usize, signed: bool) -> ArrayD<f32> {
    ArrayD::from_shape_fn(IxDyn(&[1, if signed { 3 } else { 1 }, side, side]), |at| {
        let (channel, row, column) = (at[1], at[2], at[3]);
        let face = hill(row, column, side, (0.42, 0.45, 0.22));
        let paw = hill(row, column, side, (0.75, 0.8, 0.15));
        if signed {
            let grain = noise((channel * side + row) * side + column);
            (face * (0.35 + grain) - 0.8 * paw * (0.4 + grain) + 0.02 * grain) * 0.01
        } else {
            face + 0.4 * paw
        }
    })
}

/// A photograph whose parts can be told apart.
pub(crate) fn photograph(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let byte = |value: u32| u8::try_from(value.min(255)).unwrap();
        Rgb([
            byte(x * 255 / width),
            byte(y * 255 / height),
            byte(if (x / 8 + y / 8) % 2 == 0 { 60 } else { 120 }),
        ])
    })
}

/// An explanation of a photograph by a network of 1000 classes that takes `side` × `side` pixels.
pub(crate) fn of_photograph(name: &str, picture: RgbImage, side: usize, values: ArrayD<f32>) -> Explanation {
    let mut image = ImageInput { layout: Layout::Nchw, ..ImageInput::default() };
    for (key, value) in
        [("resize", side.to_string()), ("crop", side.to_string()), ("range", "0,1".to_owned())]
    {
        image.set(key, &value).unwrap();
    }
    let (array, geometry) = image.apply(name, &picture).unwrap();
    let photograph = Photograph { picture, geometry };
    let row = Row { name: name.to_owned(), photograph: Some(Arc::new(photograph)) };
    let array = Array::F32(array.insert_axis(ndarray::Axis(0)));
    let inputs = Inputs::new(vec![("image".to_owned(), array)], vec![row]).unwrap();
    explanation(inputs, "image", values)
}

/// The same with a second target, a contrast of two classes.
pub(crate) fn with_contrast(explanation: &Explanation) -> Explanation {
    let mut explanation = explanation.clone();
    let labels = explanation.prediction.labels.clone();
    let target = |class| Target::new(class, labels.as_deref());
    let mut second = explanation.explained[0].clone();
    second.targets = vec![target(281).minus(target(282))];
    second.attribution.gap = Some(Array1::from_elem(1, -0.41));
    explanation.explained.push(second);
    explanation
}

/// An explanation of one row of anything.
pub(crate) fn explanation(inputs: Inputs, input: &str, values: ArrayD<f32>) -> Explanation {
    let labels: Vec<String> = (0..1000)
        .map(|class| match class {
            281 => "tabby".to_owned(),
            282 => "tiger cat".to_owned(),
            285 => "Egyptian cat".to_owned(),
            287 => "lynx".to_owned(),
            728 => "plastic bag".to_owned(),
            _ => format!("class number {class}"),
        })
        .collect();
    let mut scores = Array2::zeros((1, 1000));
    for (class, score) in [(285, 9.83), (281, 8.9), (282, 8.4), (287, 6.2), (728, 5.1)] {
        scores[[0, class]] = score;
    }
    let labels = Arc::new(Labels::new(labels).unwrap());
    let signed = values.iter().any(|value| *value < 0.0);
    let one = |value: f32| Some(Array1::from_elem(1, value));
    let mut settings = Settings::new();
    settings.set("method", if signed { "integrated-gradients" } else { "grad-cam" });
    settings.set("target", "top1");
    settings.set("baseline", "zero");
    settings.set("quadrature", "adaptive");
    settings.set("tolerance", "0.01");
    settings.set("seed", "0");
    let targets = vec![Target::new(285, Some(&labels))];
    let attribution = Attribution {
        values: vec![(input.to_owned(), values)],
        score: Array1::from_elem(1, 9.83),
        unit: Unit::Logit,
        baseline_score: if signed { one(-0.412) } else { None },
        gap: if signed { one(0.0312) } else { None },
        quadrature_error: if signed { one(1.4) } else { None },
        relevance: false,
        gap_std_error: None,
        std_error: None,
        repeated: Vec::new(),
        evaluations: 96,
    };
    let method = if signed {
        MethodSummary {
            name: "integrated-gradients".into(),
            summary: "Adds up the gradient along a straight line from the baseline to the input, times the way that \
                      each value goes. The sum over all values is the difference of the two scores."
                .into(),
            source: "Sundararajan, Taly and Yan 2017, Axiomatic Attribution for Deep Networks".into(),
        }
    } else {
        MethodSummary {
            name: "grad-cam".into(),
            summary: "Weights each channel of a layer by its mean gradient, adds the channels and keeps what is positive."
                .into(),
            source: "Selvaraju et al. 2017, Grad-CAM".into(),
        }
    };
    Explanation {
        model: "efficientnet-lite0.onnx".into(),
        inputs: Arc::new(inputs),
        prediction: Prediction::new(vec![], scores, Unit::Logit, Some(labels)),
        explained: vec![Explained { targets, attribution }],
        method,
        neuron: None,
        layer: (!signed).then(|| "/features/9/Conv_output_0".to_owned()),
        baseline: signed.then(|| "zero: a picture of the mean colour".to_owned()),
        settings,
        command: "pellucid explain efficientnet-lite0.onnx chelsea.png --method integrated-gradients --target top1 \
                  --baseline zero --set quadrature=adaptive --set tolerance=0.01 --seed 0 -o report.html"
            .into(),
        notes: vec!["The final Softmax was stepped over: scores are logits.".into()],
        engine: "rten 0.27".into(),
        version: "0.1.0".into(),
        spaces: Spaces::default(),
    }
}
