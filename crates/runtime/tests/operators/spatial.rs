//! Convolutions, pools and resizes.

use pellucid_graph::ElementType::{F32, I8, I64, U8};

use crate::case::Case;
use crate::case::In::{Constant, F, List, No, Of, Weight};

const NEAR: f64 = 4e-6;

fn convolutions() -> Vec<Case> {
    let mut cases = Vec::new();
    let conv = |inputs| Case::new("Conv", inputs).near(NEAR);
    for weight in [Weight(&[4, 3, 3]), F(&[4, 3, 3])] {
        cases.push(conv(vec![F(&[2, 3, 9]), weight, Weight(&[4])]));
        cases.push(conv(vec![F(&[2, 3, 9]), weight]).ints("strides", &[2]).ints("pads", &[1, 2]));
        cases.push(conv(vec![F(&[2, 3, 9]), weight]).ints("dilations", &[2]).text("auto_pad", "SAME_LOWER"));
    }
    for weight in [Weight(&[4, 3, 3, 2]), F(&[4, 3, 3, 2])] {
        let x = F(&[2, 3, 7, 8]);
        cases.push(conv(vec![x, weight]));
        cases.push(conv(vec![x, weight, Weight(&[4])]).ints("pads", &[1, 0, 2, 1]).ints("strides", &[2, 3]));
        cases.push(conv(vec![x, weight]).ints("dilations", &[2, 3]).ints("pads", &[0, 2, 1, 1]));
        for auto in ["SAME_UPPER", "SAME_LOWER", "VALID"] {
            cases.push(conv(vec![x, weight]).text("auto_pad", auto).ints("strides", &[2, 2]));
            cases.push(conv(vec![x, weight]).text("auto_pad", auto));
        }
    }
    cases.extend([
        conv(vec![F(&[2, 4, 6, 6]), Weight(&[6, 2, 3, 3]), Weight(&[6])])
            .int("group", 2)
            .ints("pads", &[1, 1, 1, 1]),
        conv(vec![F(&[2, 4, 6, 6]), Weight(&[4, 1, 3, 3]), Weight(&[4])])
            .int("group", 4)
            .ints("strides", &[2, 2]),
        conv(vec![F(&[2, 4, 6, 6]), Weight(&[8, 1, 3, 3])]).int("group", 4).ints("dilations", &[2, 2]),
        conv(vec![F(&[2, 4, 6, 6]), Weight(&[8, 4, 1, 1]), Weight(&[8])]),
        conv(vec![F(&[2, 4, 6, 6]), Weight(&[8, 4, 1, 1])]).ints("strides", &[2, 2]),
        conv(vec![F(&[1, 16, 12, 12]), Weight(&[16, 16, 3, 3])]).ints("pads", &[1, 1, 1, 1]),
        conv(vec![F(&[2, 4, 9]), Weight(&[4, 1, 3]), Weight(&[4])]).int("group", 4).ints("pads", &[1, 1]),
    ]);
    for weight in [Weight(&[4, 2, 3, 2, 3]), F(&[4, 2, 3, 2, 3])] {
        let x = F(&[2, 2, 5, 6, 7]);
        cases.push(conv(vec![x, weight, Weight(&[4])]));
        cases.push(conv(vec![x, weight]).ints("pads", &[1, 0, 1, 2, 1, 0]).ints("strides", &[2, 1, 3]));
        cases.push(conv(vec![x, weight]).ints("dilations", &[2, 1, 2]).ints("pads", &[1, 1, 1, 1, 1, 1]));
        cases.push(conv(vec![x, weight]).text("auto_pad", "SAME_UPPER").ints("strides", &[2, 2, 2]));
    }
    cases.push(conv(vec![F(&[1, 4, 4, 4, 4]), Weight(&[4, 1, 2, 2, 2]), Weight(&[4])]).int("group", 4));
    cases.push(conv(vec![F(&[1, 4, 4, 4, 4]), Weight(&[6, 2, 1, 2, 2])]).int("group", 2));
    cases
}

fn transposed() -> Vec<Case> {
    let mut cases = Vec::new();
    let conv = |inputs| Case::new("ConvTranspose", inputs).near(NEAR);
    for weight in [Weight(&[3, 4, 3]), F(&[3, 4, 3])] {
        let x = F(&[2, 3, 6]);
        cases.push(conv(vec![x, weight, Weight(&[4])]));
        cases.push(conv(vec![x, weight]).ints("pads", &[1, 2]));
        cases.push(
            conv(vec![x, weight]).ints("strides", &[2]).ints("pads", &[1, 0]).ints("output_padding", &[1]),
        );
        cases.push(conv(vec![x, weight]).ints("strides", &[3]).ints("dilations", &[2]));
    }
    for weight in [Weight(&[3, 4, 3, 2]), F(&[3, 4, 3, 2])] {
        let x = F(&[2, 3, 4, 5]);
        cases.push(conv(vec![x, weight, Weight(&[4])]));
        cases.push(conv(vec![x, weight]).ints("pads", &[1, 0, 2, 1]));
        cases.push(conv(vec![x, weight]).ints("dilations", &[2, 1]).ints("pads", &[1, 1, 1, 0]));
        cases.push(conv(vec![x, weight]).ints("strides", &[2, 2]).ints("output_padding", &[1, 1]));
        cases.push(conv(vec![x, weight]).ints("strides", &[2, 3]).ints("output_shape", &[8, 15]));
        cases.push(conv(vec![x, weight]).ints("strides", &[2, 2]).text("auto_pad", "SAME_UPPER"));
        cases.push(conv(vec![x, weight]).ints("strides", &[2, 2]).text("auto_pad", "SAME_LOWER"));
        cases.push(conv(vec![x, weight]).ints("pads", &[3, 0, 0, 0]));
        cases.push(conv(vec![x, weight]).ints("strides", &[1, 2]).ints("pads", &[2, 1, 2, 1]));
    }
    cases.extend([
        conv(vec![F(&[2, 4, 4, 4]), Weight(&[4, 3, 3, 3]), Weight(&[6])]).int("group", 2),
        conv(vec![F(&[2, 4, 4, 4]), F(&[4, 3, 3, 3]), Weight(&[6])])
            .int("group", 2)
            .ints("pads", &[1, 1, 1, 1]),
        conv(vec![F(&[2, 4, 4, 4]), Weight(&[4, 3, 3, 3]), Weight(&[6])])
            .int("group", 2)
            .ints("strides", &[2, 2]),
        conv(vec![F(&[2, 4, 4, 4]), Weight(&[4, 1, 3, 3])]).int("group", 4).ints("strides", &[2, 2]),
        conv(vec![F(&[2, 4, 4, 4]), Weight(&[4, 1, 3, 3])]).int("group", 4),
    ]);
    for weight in [Weight(&[2, 3, 3, 2, 2]), F(&[2, 3, 3, 2, 2])] {
        let x = F(&[2, 2, 3, 4, 3]);
        cases.push(conv(vec![x, weight, Weight(&[3])]));
        cases.push(conv(vec![x, weight]).ints("pads", &[1, 0, 1, 1, 1, 0]));
        cases.push(
            conv(vec![x, weight, Weight(&[3])])
                .ints("strides", &[2, 1, 2])
                .ints("pads", &[1, 0, 0, 1, 1, 0])
                .ints("output_padding", &[1, 0, 1]),
        );
        cases.push(conv(vec![x, weight]).ints("strides", &[2, 2, 2]).ints("dilations", &[2, 1, 1]));
    }
    cases
}

fn pools() -> Vec<Case> {
    let mut cases = Vec::new();
    let inputs: [(_, usize); 3] = [(F(&[2, 5, 9]), 1), (F(&[2, 5, 7, 8]), 2), (F(&[2, 3, 5, 6, 7]), 3)];
    for (x, spatial) in inputs {
        let ones = vec![1; 2 * spatial];
        let (threes, twos) = (vec![3; spatial], vec![2; spatial]);
        let uneven: Vec<i64> = [0, 1, 1, 0, 1, 0].into_iter().take(2 * spatial).collect();
        for operator in ["MaxPool", "AveragePool", "LpPool"] {
            let pool = || Case::new(operator, vec![x]).ints("kernel_shape", &threes).near(NEAR);
            cases.push(pool());
            cases.push(pool().ints("strides", &twos).ints("pads", &ones));
            cases.push(pool().ints("strides", &twos).ints("pads", &uneven));
            cases.push(pool().ints("strides", &twos).int("ceil_mode", 1));
            cases.push(pool().ints("strides", &twos).ints("pads", &ones).int("ceil_mode", 1));
            cases.push(pool().ints("strides", &twos).text("auto_pad", "SAME_UPPER"));
            cases.push(pool().ints("strides", &twos).text("auto_pad", "SAME_LOWER"));
            cases.push(pool().text("auto_pad", "VALID"));
        }
        for ceil in [0, 1] {
            cases.push(
                Case::new("AveragePool", vec![x])
                    .ints("kernel_shape", &threes)
                    .ints("strides", &twos)
                    .ints("pads", &ones)
                    .int("count_include_pad", 1)
                    .int("ceil_mode", ceil)
                    .near(NEAR),
            );
        }
        cases.push(Case::new("MaxPool", vec![x]).ints("kernel_shape", &twos).ints("dilations", &twos));
        cases.push(
            Case::new("MaxPool", vec![x])
                .ints("kernel_shape", &twos)
                .ints("dilations", &threes)
                .ints("strides", &twos)
                .ints("pads", &ones),
        );
        for order in [0, 1] {
            cases.push(
                Case::new("MaxPool", vec![x])
                    .ints("kernel_shape", &threes)
                    .ints("strides", &twos)
                    .ints("pads", &ones)
                    .int("storage_order", order)
                    .outputs(2),
            );
        }
        for p in [1, 3] {
            cases.push(Case::new("LpPool", vec![x]).ints("kernel_shape", &twos).int("p", p).near(NEAR));
            cases.push(Case::new("GlobalLpPool", vec![x]).int("p", p).near(NEAR));
        }
        for operator in ["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"] {
            cases.push(Case::new(operator, vec![x]).near(NEAR));
        }
    }
    for element in [U8, I8] {
        let quantised = Case::new("MaxPool", vec![Of(element, &[1, 2, 6, 5])])
            .ints("kernel_shape", &[3, 2])
            .ints("strides", &[2, 1]);
        cases.extend([quantised.clone().ints("pads", &[1, 0, 1, 1]), quantised.ints("dilations", &[2, 2])]);
    }
    cases
}

fn resizes() -> Vec<Case> {
    let mut cases = Vec::new();
    let image = F(&[1, 2, 4, 5]);
    let (up, down) = (Constant(F32, &[4], &[1.0, 1.0, 2.0, 1.7]), Constant(F32, &[4], &[1.0, 1.0, 0.6, 0.5]));
    let coordinates =
        ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"];
    for mode in ["nearest", "linear", "cubic"] {
        for coordinate in coordinates {
            let resize = |inputs| {
                Case::new("Resize", inputs)
                    .text("mode", mode)
                    .text("coordinate_transformation_mode", coordinate)
                    .near(NEAR)
            };
            cases.push(resize(vec![image, No, up]));
            cases.push(resize(vec![image, No, down]));
            cases.push(resize(vec![image, No, No, List(&[1, 2, 7, 3])]));
        }
        let resize = |inputs| Case::new("Resize", inputs).text("mode", mode).near(NEAR);
        cases.push(resize(vec![image, No, down]).int("antialias", 1));
        cases.push(resize(vec![image, No, up]).int("exclude_outside", 1));
        cases.push(resize(vec![F(&[2, 3, 6]), No, Constant(F32, &[3], &[1.0, 1.0, 1.5])]));
        cases.push(resize(vec![F(&[1, 2, 3, 4, 3]), No, Constant(F32, &[5], &[1.0, 1.0, 2.0, 0.5, 2.0])]));
        cases.push(resize(vec![image, No, No, List(&[6, 7])]).ints("axes", &[2, 3]));
        cases.push(
            resize(vec![image, No, No, List(&[9, 9])])
                .ints("axes", &[2, 3])
                .text("keep_aspect_ratio_policy", "not_larger"),
        );
        cases.push(
            resize(vec![
                image,
                Constant(F32, &[8], &[0.0, 0.0, 0.2, -0.3, 1.0, 1.0, 0.7, 1.4]),
                No,
                List(&[1, 2, 5, 6]),
            ])
            .text("coordinate_transformation_mode", "tf_crop_and_resize")
            .float("extrapolation_value", 7.5),
        );
    }
    for rounding in ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"] {
        cases.push(Case::new("Resize", vec![image, No, up]).text("nearest_mode", rounding));
        cases.push(
            Case::new("Resize", vec![Of(I64, &[1, 1, 3, 3]), No, Constant(F32, &[4], &[1.0, 1.0, 3.0, 2.0])])
                .text("nearest_mode", rounding)
                .text("coordinate_transformation_mode", "asymmetric"),
        );
    }
    cases.push(
        Case::new("Resize", vec![image, No, up])
            .text("mode", "cubic")
            .float("cubic_coeff_a", -0.5)
            .near(NEAR),
    );
    cases
}

pub(crate) fn cases() -> Vec<Case> {
    [convolutions(), transposed(), pools(), resizes()].concat()
}
