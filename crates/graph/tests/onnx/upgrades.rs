//! Every older or newer form comes in as the form of opset 18: the text of the result, family by family.

use std::fmt::Write;

use crate::wire::{Message, floats, graph, header, integers, message, model, node, read, typed, value};

/// Reads one node of `opset` on `x` and constants; appends the graph under a heading.
fn case(text: &mut String, opset: i64, sizes: &[&str], node: Message, constants: &[Message]) {
    let bytes = model(opset, &graph(&[node], &[value("x", sizes)], &["y"], constants));
    let graph = read(bytes).unwrap_or_else(|error| panic!("opset {opset}: {error}"));
    write!(text, "opset {opset}\n{}\n", graph.text()).unwrap();
}

/// Why one node of `opset` on `x` is refused.
fn refused(opset: i64, node: Message, constants: &[Message]) -> String {
    message(model(opset, &graph(&[node], &[value("x", &["n", "3", "8", "8"])], &["y"], constants)))
}

#[test]
fn attributes_become_inputs() {
    let mut text = String::new();
    let slice = node("Slice", &["x"], &["y"]).with_ints("starts", &[1, 0]).with_ints("ends", &[3, 2]);
    case(&mut text, 9, &["4", "4"], slice.clone(), &[]);
    case(&mut text, 7, &["4", "4"], slice.with_ints("axes", &[1, 0]), &[]);
    let pad = node("Pad", &["x"], &["y"]).with_ints("pads", &[0, 1, 0, 2]);
    case(&mut text, 10, &["n", "4"], pad.clone(), &[]);
    case(&mut text, 10, &["n", "4"], pad.with_float("value", 0.5).with_text("mode", "constant"), &[]);
    let clip = node("Clip", &["x"], &["y"]);
    case(&mut text, 10, &["n"], clip.clone(), &[]);
    case(&mut text, 10, &["n"], clip.clone().with_float("min", 0.0), &[]);
    case(&mut text, 10, &["n"], clip.clone().with_float("max", 6.0), &[]);
    case(&mut text, 10, &["n"], clip.with_float("min", 0.0).with_float("max", 6.0), &[]);
    case(&mut text, 12, &["n", "1"], node("Squeeze", &["x"], &["y"]).with_ints("axes", &[1]), &[]);
    case(&mut text, 12, &["n"], node("Unsqueeze", &["x"], &["y"]).with_ints("axes", &[0, 2]), &[]);
    case(&mut text, 12, &["n", "4"], node("Split", &["x"], &["a", "y"]).with_int("axis", 1), &[]);
    let split = node("Split", &["x"], &["a", "y"]).with_int("axis", 1).with_ints("split", &[1, 3]);
    case(&mut text, 12, &["n", "4"], split, &[]);
    case(&mut text, 13, &["n", "4"], node("Split", &["x"], &["a", "y"]).with_int("axis", 1), &[]);
    case(&mut text, 11, &["n"], node("Dropout", &["x"], &["y", "mask"]).with_float("ratio", 0.25), &[]);
    case(&mut text, 9, &["n"], node("Dropout", &["x"], &["y", "mask"]), &[]);
    case(&mut text, 9, &["n", "4"], node("TopK", &["x"], &["y", "i"]).with_int("k", 2), &[]);
    insta::assert_snapshot!("attributes_become_inputs", text);
}

#[test]
fn reductions() {
    let mut text = String::new();
    for operator in [
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
    ] {
        let opset = if operator == "ReduceSum" { 12 } else { 17 };
        let reduce = node(operator, &["x"], &["y"]).with_ints("axes", &[-1]).with_int("keepdims", 0);
        case(&mut text, opset, &["n", "4"], reduce, &[]);
    }
    case(&mut text, 12, &["n", "4"], node("ReduceMean", &["x"], &["y"]), &[]);
    let axes = integers("axes", &[1], &[1]);
    case(&mut text, 13, &["n", "4"], node("ReduceSum", &["x", "axes"], &["y"]), &[axes]);
    insta::assert_snapshot!("reductions", text);
}

#[test]
fn flattened_softmax() {
    let mut text = String::new();
    let softmax = node("Softmax", &["x"], &["y"]);
    case(&mut text, 12, &["n", "10"], softmax.clone(), &[]);
    case(&mut text, 12, &["n", "10", "1", "1"], softmax.clone(), &[]);
    case(&mut text, 12, &["n", "10", "3"], softmax.clone(), &[]);
    case(&mut text, 12, &["2", "10", "3"], node("LogSoftmax", &["x"], &["y"]).with_int("axis", -2), &[]);
    case(&mut text, 12, &["2", "3"], node("Hardmax", &["x"], &["y"]).with_int("axis", 0), &[]);
    case(&mut text, 13, &["n", "10", "3"], softmax, &[]);
    insta::assert_snapshot!("flattened_softmax", text);
}

#[test]
fn resizing() {
    let mut text = String::new();
    let scales = || floats("s", &[4], &[1.0, 1.0, 2.0, 2.0]);
    let none = |name: &str| header(name, 1, &[0]);
    let sizes = ["n", "3", "8", "8"];
    let upsample = node("Upsample", &["x"], &["y"]).with_floats("scales", &[1.0, 1.0, 2.0, 2.0]);
    case(&mut text, 8, &sizes, upsample, &[]);
    case(
        &mut text,
        9,
        &sizes,
        node("Upsample", &["x", "s"], &["y"]).with_text("mode", "linear"),
        &[scales()],
    );
    case(
        &mut text,
        10,
        &sizes,
        node("Resize", &["x", "s"], &["y"]).with_text("mode", "nearest"),
        &[scales()],
    );
    let cubic = node("Resize", &["x", "roi", "s"], &["y"])
        .with_text("mode", "cubic")
        .with_text("coordinate_transformation_mode", "align_corners");
    case(&mut text, 11, &sizes, cubic, &[none("roi"), scales()]);
    let wanted = integers("z", &[4], &[1, 3, 5, 7]);
    case(&mut text, 13, &sizes, node("Resize", &["x", "", "e", "z"], &["y"]), &[none("e"), wanted]);
    insta::assert_snapshot!("resizing", text);
}

#[test]
fn normalisation() {
    let mut text = String::new();
    let vector = |name: &str| floats(name, &[6], &[1.0; 6]);
    let all = [vector("s"), vector("b"), vector("m"), vector("v")];
    let batch = node("BatchNormalization", &["x", "s", "b", "m", "v"], &["y"]);
    case(&mut text, 8, &["n", "6"], batch.clone().with_int("spatial", 1).with_float("epsilon", 0.5), &all);
    case(&mut text, 9, &["n", "6"], batch.clone(), &all);
    case(&mut text, 8, &["n", "6"], batch.with_int("spatial", 0).with_float("epsilon", 0.5), &all);
    let group = |opset: i64, count: i64| {
        let weights = [floats("s", &[count], &vec![1.0; 6][..usize::try_from(count).unwrap()]), vector("b")];
        let shift = if opset == 21 { vector("b") } else { floats("b", &[count], &[0.0; 3]) };
        (
            node("GroupNormalization", &["x", "s", "b"], &["y"]).with_int("num_groups", 3),
            [weights[0].clone(), shift],
        )
    };
    let (node, weights) = group(18, 3);
    case(&mut text, 18, &["n", "6", "h", "w"], node, &weights);
    let (node, weights) = group(21, 6);
    case(
        &mut text,
        21,
        &["n", "6", "h", "w"],
        node.with_float("epsilon", 0.5).with_int("stash_type", 1),
        &weights,
    );
    insta::assert_snapshot!("normalisation", text);
}

#[test]
fn other_forms() {
    let mut text = String::new();
    let scatter = node("Scatter", &["x", "i", "u"], &["y"]).with_int("axis", 1);
    let constants = [integers("i", &[1, 1], &[0]), floats("u", &[1, 1], &[1.0])];
    case(&mut text, 9, &["n", "4"], scatter, &constants);
    case(&mut text, 19, &["n"], node("Cast", &["x"], &["y"]).with_int("to", 10).with_int("saturate", 1), &[]);
    let pool =
        node("AveragePool", &["x"], &["y"]).with_ints("kernel_shape", &[2]).with_ints("dilations", &[1]);
    case(&mut text, 19, &["n", "3", "8"], pool, &[]);
    let half = graph(&[node("IsInf", &["x"], &["y"])], &[typed("x", 10, &["n"])], &["y"], &[]);
    write!(text, "opset 20\n{}\n", read(model(20, &half)).unwrap().text()).unwrap();
    case(&mut text, 20, &["n"], node("Gelu", &["x"], &["y"]).with_text("approximate", "tanh"), &[]);
    case(&mut text, 24, &["n"], node("Swish", &["x"], &["y"]), &[]);
    let wrap = node("Pad", &["x", "p"], &["y"]).with_text("mode", "wrap");
    case(&mut text, 18, &["n", "4", "5"], wrap.clone(), &[integers("p", &[6], &[0, 1, 0, 0, 2, 3])]);
    case(&mut text, 19, &["n"], wrap, &[integers("p", &[2], &[0, 0])]);
    let bools = graph(
        &[node("ReduceMax", &["x"], &["y"]).with_int("keepdims", 0)],
        &[typed("x", 9, &["n"])],
        &["y"],
        &[],
    );
    write!(text, "opset 20\n{}\n", read(model(20, &bools)).unwrap().text()).unwrap();
    let depth = integers("d", &[1], &[5]);
    case(
        &mut text,
        9,
        &["n"],
        node("OneHot", &["x", "d", "v"], &["y"]),
        &[depth, floats("v", &[2], &[0.0, 1.0])],
    );
    insta::assert_snapshot!("other_forms", text);
}

#[test]
fn quantisation() {
    let mut text = String::new();
    let typed_case = |text: &mut String, element: i64, node: Message, constants: &[Message]| {
        let graph = graph(&[node], &[typed("x", element, &["5", "n"])], &["y"], constants);
        write!(text, "opset 21\n{}\n", read(model(21, &graph)).unwrap().text()).unwrap();
    };
    let scale = floats("s", &[], &[0.5]);
    let stored =
        node("QuantizeLinear", &["x", "s"], &["y"]).with_int("output_dtype", 3).with_int("saturate", 1);
    typed_case(&mut text, 1, stored, &[scale]);
    let scales = floats("s", &[3, 4], &[0.5; 12]);
    let blocks =
        |operator: &str| node(operator, &["x", "s"], &["y"]).with_int("axis", 0).with_int("block_size", 2);
    let fixed = |element: i64, node: Message| {
        let graph =
            graph(&[node], &[typed("x", element, &["5", "4"])], &["y"], std::slice::from_ref(&scales));
        format!("opset 21\n{}\n", read(model(21, &graph)).unwrap().text())
    };
    text += &fixed(1, blocks("QuantizeLinear"));
    text += &fixed(3, blocks("DequantizeLinear"));
    insta::assert_snapshot!("quantisation", text);
}

#[test]
fn sequences_of_parts() {
    let mut text = String::new();
    let parts = |inputs: &[&str], keep: i64, positions: &[i64], constants: &[Message]| {
        let mut nodes =
            vec![node("SplitToSequence", inputs, &["s"]).with_int("axis", 1).with_int("keepdims", keep)];
        let mut constants = constants.to_vec();
        let mut outputs = Vec::new();
        for (count, position) in positions.iter().enumerate() {
            constants.push(integers(&format!("i{count}"), &[], &[*position]));
            nodes.push(node("SequenceAt", &["s", &format!("i{count}")], &[&format!("y{count}")]));
            outputs.push(format!("y{count}"));
        }
        let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
        read(model(18, &graph(&nodes, &[value("x", &["n", "6"])], &outputs, &constants)))
            .map(|graph| graph.text())
    };
    let sizes = integers("z", &[3], &[1, 2, 3]);
    text += &parts(&["x", "z"], 1, &[0, -1, 0], std::slice::from_ref(&sizes)).unwrap();
    text += &parts(&["x", "z"], 1, &[0, 2], &[integers("z", &[], &[2])]).unwrap();
    text += &parts(&["x"], 0, &[0, -1], &[]).unwrap();
    text += &parts(&["x"], 1, &[3], &[]).unwrap();
    insta::assert_snapshot!("sequences_of_parts", text);
    assert_eq!(
        parts(&["x", "z"], 1, &[7], &[sizes]).unwrap_err().to_string(),
        "2 operators are unknown: SplitToSequence (node \"the SplitToSequence\"), \
         SequenceAt (node \"the SequenceAt\")"
    );
}

#[test]
fn what_opset_18_cannot_express_is_refused() {
    let dilated = node("AveragePool", &["x"], &["y"]).with_ints("kernel_shape", &[2, 2]);
    assert_eq!(
        refused(19, dilated.with_ints("dilations", &[2, 2]), &[]),
        "AveragePool (node \"the AveragePool\"): dilations [2, 2] do not exist in opset 18"
    );
    let symmetric = node("Resize", &["x", "", "s"], &["y"])
        .with_text("coordinate_transformation_mode", "half_pixel_symmetric");
    let scales = [floats("s", &[4], &[1.0, 1.0, 0.5, 0.5])];
    assert_eq!(
        refused(19, symmetric, &scales),
        "Resize (node \"the Resize\"): \
         coordinate_transformation_mode \"half_pixel_symmetric\" does not exist in opset 18"
    );
    assert_eq!(
        refused(10, node("Resize", &["x", "s"], &["y"]), &scales),
        "Resize (node \"the Resize\"): the nearest neighbour is only defined where scales are constants of at \
         least 1: export with opset 11 or later"
    );
    let vector = |name: &str| floats(name, &[3], &[1.0; 3]);
    let all = [vector("s"), vector("b"), vector("m"), vector("v")];
    let batch = |outputs: &[&str]| node("BatchNormalization", &["x", "s", "b", "m", "v"], outputs);
    assert_eq!(
        refused(9, batch(&["y", "mean", "var"]), &all),
        "BatchNormalization (node \"the BatchNormalization\"): it is in training mode: export the network in \
         evaluation mode"
    );
    assert_eq!(
        refused(9, node("Dropout", &["x"], &["z", "y"]), &[]),
        "Dropout (node \"the Dropout\"): the mask of opset 9 is not of truth values: export with opset 10 or later"
    );
    let wrap = node("Pad", &["x", "p"], &["y"]).with_text("mode", "wrap");
    assert_eq!(
        refused(19, wrap, &[integers("p", &[8], &[1, 0, 0, 0, 0, 0, 0, 0])]),
        "Pad (node \"the Pad\"): mode \"wrap\" pads axis 0 by 1 and 0, where zero up to its known size is supported"
    );
    assert_eq!(
        refused(7, node("Add", &["x", "x"], &["y"]).with_int("broadcast", 1), &[]),
        "Add (node \"the Add\"): attribute \"broadcast\" is not one that the operator has in opset 18"
    );
    let group =
        node("GroupNormalization", &["x", "s", "b"], &["y"]).with_int("num_groups", 3).with_float("eps", 0.5);
    assert_eq!(
        refused(21, group, &[vector("s"), vector("b")]),
        "GroupNormalization (node \"the GroupNormalization\"): attribute \"eps\" is not one that the operator has \
         in opset 18"
    );
    let blocks =
        node("QuantizeLinear", &["x", "s", "z"], &["y"]).with_int("block_size", 2).with_int("axis", 0);
    let scales = floats("s", &[1], &[0.5]);
    let zeros = integers("z", &[1], &[3]);
    let pair = graph(&[blocks], &[value("x", &["2"])], &["y"], &[scales.clone(), zeros]);
    assert_eq!(
        message(model(21, &pair)),
        "QuantizeLinear (node \"the QuantizeLinear\"): zero points in blocks are supported where they are 0"
    );
    let blocks = node("DequantizeLinear", &["x", "s"], &["y"]).with_int("block_size", 2).with_int("axis", 0);
    assert_eq!(
        message(model(21, &graph(&[blocks], &[typed("x", 2, &["3"])], &["y"], &[scales]))),
        "DequantizeLinear (node \"the DequantizeLinear\"): 1 blocks of 2 do not fit 3"
    );
    assert_eq!(
        refused(12, node("Unsqueeze", &["x"], &["y"]), &[]),
        "Unsqueeze (node \"the Unsqueeze\"): attribute \"axes\" is missing"
    );
    assert_eq!(
        refused(12, node("Softmax", &["x"], &["y"]).with_int("axis", 7), &[]),
        "Softmax (node \"the Softmax\"): axis 7 is outside a tensor of 4 axes"
    );
}
