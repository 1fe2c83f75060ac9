//! Rearranging, sizes, and the chains of sizes that exporters write.

use pellucid_graph::{Attribute, Dim, ElementType, Graph, NewNode, Tensor, ValueId};

use crate::table::{check, describe};

#[test]
fn reshape() {
    check(&[
        ("Reshape(float32[n, 3, 4], {0, -1})", "float32[n, 12]"),
        ("Reshape(float32[n, 3, 4], {-1, 12})", "float32[n, 12]"),
        ("Reshape(float32[n, 3, 4], {-1, 6})", "float32[2*n, 6]"),
        ("Reshape(float32[n, 3, 4], {-1})", "float32[12*n]"),
        ("Reshape(float32[n, c, h, w], <n, c, h, w>)", "float32[n, c, h, w]"),
        ("Reshape(float32[n, h, w, 6], {0, -1, 3})", "float32[n, 2*h*w, 3]"),
        ("Reshape(float32[n, 6, h, w], {-1, 3, 2, 1})", "float32[h*n*w, 3, 2, 1]"),
        ("Reshape(float32[n, 5], {-1, 7})", "float32[?y.0, 7]"),
        ("Reshape(float32[2, 3], {3, 2})", "float32[3, 2]"),
        ("Reshape(float32[0, 12], {-1, 3})", "float32[0, 3]"),
        ("Reshape(float32[0, 3], {3, 0}) allowzero=1", "float32[3, 0]"),
        ("Reshape(float32[2, 3], {0, 3})", "float32[2, 3]"),
        ("Reshape(float32?, {0, 3, -1})", "float32[?y.0, 3, ?y.2]"),
        ("Reshape(float32[2, 3], int64[2])", "float32[?y.0, ?y.1]"),
        ("Reshape(float32[2, 3], int64[r])", "float32?"),
        ("Reshape(<n, 3, 4, 5>, {2, 2})", "int64[2, 2] = [n, 3, 4, 5]"),
        (
            "Reshape(float32[2, 3], {4, 2})",
            "error: [2, 3] cannot be reshaped to [4, 2]: the numbers of elements differ",
        ),
        (
            "Reshape(float32[n, 3], {0, 4})",
            "error: [n, 3] cannot be reshaped to [n, 4]: the numbers of elements differ",
        ),
        (
            "Reshape(float32[2, 3], {-1, 4})",
            "error: [2, 3] cannot be reshaped to [-1, 4]: 6 is no multiple of 4",
        ),
        (
            "Reshape(float32[2, 0], {-1, 0})",
            "error: [2, 0] cannot be reshaped to [-1, 0]: any size would do for -1",
        ),
        ("Reshape(float32[2, 3], {-1, -1})", "error: the shape [-1, -1] has -1 twice"),
        ("Reshape(float32[2, 3], {-2, 3})", "error: the shape [-2, 3] has a negative size"),
        ("Reshape(float32[6], {3, 0})", "error: the shape [3, 0] keeps axis 1, which [6] has not"),
        ("Reshape(float32[6], f{3, 2})", "error: input 1 is float32, expected integers"),
    ]);
}

#[test]
fn axes_come_and_go() {
    check(&[
        ("Flatten(float32[n, 3, 4, 5])", "float32[n, 60]"),
        ("Flatten(float32[n, h, w]) axis=-1", "float32[h*n, w]"),
        ("Flatten(float32[2, 3]) axis=2", "float32[6, 1]"),
        ("Flatten(float32[2, 3]) axis=0", "float32[1, 6]"),
        ("Flatten(float32[2, 3]) axis=3", "error: axis 3 is outside the 2 axes"),
        ("Squeeze(float32[n, 1, 4, 1], {1, -1})", "float32[n, 4]"),
        ("Squeeze(float32[2, 1, 4, 1])", "float32[2, 4]"),
        ("Squeeze(float32[n, 1])", "float32?"),
        ("Squeeze(float32[n, 1], int64[1])", "float32[?y.0]"),
        ("Squeeze(float32[2, 4], {1})", "error: axis 1 of [2, 4] cannot be squeezed: its size is not 1"),
        ("Squeeze(float32[2, 1], {1, -1})", "error: axis 1 is listed twice in [1, -1]"),
        ("Unsqueeze(float32[n, 4], {0, -1})", "float32[1, n, 4, 1]"),
        ("Unsqueeze(float32[n, 4], {4})", "error: axis 4 is outside the 3 axes"),
        ("Unsqueeze(float32[n, 4], int64[2])", "float32[?y.0, ?y.1, ?y.2, ?y.3]"),
        ("Unsqueeze(#7, {0})", "int64[1] = [7]"),
        ("Transpose(float32[n, 3, h]) perm=[0, 2, 1]", "float32[n, h, 3]"),
        ("Transpose(float32[n, 3, h])", "float32[h, 3, n]"),
        ("Transpose(float32[n, 3, h]) perm=[0, 2]", "error: perm [0, 2] does not fit the shape [n, 3, h]"),
        ("Transpose(float32[n, 3, h]) perm=[0, 2, 2]", "error: axis 2 is listed twice in [0, 2, 2]"),
    ]);
}

#[test]
fn joining_and_parting() {
    check(&[
        ("Concat(float32[n, 3, 4], float32[n, c, 4]) axis=1", "float32[n, c+3, 4]"),
        ("Concat(float32[n, 3], float32[2, 3]) axis=-1", "float32[2, 6]"),
        ("Concat(float32[0, 3], float32[2, 3]) axis=0", "float32[2, 3]"),
        ("Concat(float32[n, 3], float32?) axis=1", "float32[n, ?y.1]"),
        ("Concat(<n, h>, {3}, int64[1]) axis=0", "int64[4] = [n, h, 3, !y.3]"),
        (
            "Concat(float32[2, 3], float32[3, 3]) axis=1",
            "error: cannot concatenate [2, 3] and [3, 3] along axis 1",
        ),
        (
            "Concat(float32[n, 3], float32[n, 3, 1]) axis=1",
            "error: cannot concatenate [n, 3] and [n, 3, 1] along axis 1",
        ),
        ("Concat(float32[2, 3], float32[2, 3])", "error: attribute axis is missing"),
        ("Split(float32[n, 7], {3, 4}) axis=1 outputs=2", "float32[n, 3]; float32[n, 4]"),
        (
            "Split(float32[n, 7]) axis=1 num_outputs=3 outputs=3",
            "float32[n, 3]; float32[n, 3]; float32[n, 1]",
        ),
        ("Split(float32[n, 6]) axis=-1 num_outputs=2 outputs=2", "float32[n, 3]; float32[n, 3]"),
        ("Split(<n, 3, h, w>, {2, 2}) outputs=2", "int64[2] = [n, 3]; int64[2] = [h, w]"),
        (
            "Split(float32[n, 7], {3, 3}) axis=1 outputs=2",
            "error: axis 1 of [n, 7] cannot be split into [3, 3] for 2 outputs",
        ),
        (
            "Split(float32[n, 7]) axis=1 num_outputs=3 outputs=2",
            "error: attribute num_outputs is 3, found 2 outputs",
        ),
    ]);
}

#[test]
fn growing() {
    check(&[
        ("Expand(float32[n, 1, 4], {3, 1})", "float32[n, 3, 4]"),
        ("Expand(float32[1, 1], <n, c, h>)", "float32[n, c, h]"),
        ("Expand(float32[3], {0, 3})", "float32[0, 3]"),
        ("Expand(float32[2], int64[3])", "float32[?y.0, ?y.1, ?y.2]"),
        ("Expand({1}, {3})", "int64[3] = [1, 1, 1]"),
        ("Expand(float32[3], {2})", "error: cannot broadcast [3] with [2]"),
        ("Expand(float32[3], {-1, 3})", "error: the shape [-1, 3] has a negative size"),
        ("Tile(float32[n, 3], {2, 1})", "float32[2*n, 3]"),
        ("Tile(float32[2, 3], <n, 2>)", "float32[2*n, 6]"),
        ("Tile({1, 2}, {2})", "int64[4] = [1, 2, 1, 2]"),
        ("Tile(float32[2, 3], {2})", "error: input 1 has the shape [1], expected [2]"),
        ("Tile(float32[2, 3], {2, -1})", "error: the repeats [2, -1] have a negative number"),
    ]);
}

#[test]
fn reading_sizes() {
    check(&[
        ("Shape(float32[n, 3, h])", "int64[3] = [n, 3, h]"),
        ("Shape(float32[n, 3, h]) start=-1", "int64[1] = [h]"),
        ("Shape(float32[n, 3, h]) start=1 end=-1", "int64[1] = [3]"),
        ("Shape(float32[n, 3, h]) start=2 end=1", "int64[0] = []"),
        ("Shape(float32[n]) start=-7 end=7", "int64[1] = [n]"),
        ("Shape(float32?)", "int64[?y.0]"),
        ("Size(float32[n, 3, 4])", "int64[] = [12*n]"),
        ("Size(float32[n, 0, m])", "int64[] = [0]"),
        ("Size(float32?)", "int64[]"),
    ]);
}

/// Pushes nodes one after the other, each on the last's output and constants, and describes the last.
struct Chain {
    graph: Graph,
    last: ValueId,
}

impl Chain {
    fn of(shape: &[&str]) -> Self {
        let mut graph = Graph::new();
        let sizes = shape.iter().map(|size| size.parse().map_or_else(|_| Dim::symbol(*size), Dim::known));
        let last = graph.add_input("x", ElementType::F32, Some(sizes.collect())).unwrap();
        Self { graph, last }
    }

    fn constant(&mut self, values: &[i64], scalar: bool) -> ValueId {
        let name = format!("c{}", self.graph.values().len());
        let shape = if scalar { vec![] } else { vec![values.len()] };
        self.graph.add_constant(name, Tensor::from_i64(shape, values).unwrap()).unwrap()
    }

    fn then(&mut self, operator: &str, others: &[ValueId]) -> ValueId {
        self.with(operator, others, &[])
    }

    fn with(&mut self, operator: &str, others: &[ValueId], attributes: &[(&str, i64)]) -> ValueId {
        let inputs = [&[self.last], others].concat();
        let mut node = NewNode::new(operator, &inputs, format!("v{}", self.graph.values().len()));
        for (name, value) in attributes {
            node = node.with(name, Attribute::Int(*value));
        }
        self.last = self.graph.push_one(node).unwrap();
        self.last
    }

    fn from(&mut self, value: ValueId) -> &mut Self {
        self.last = value;
        self
    }

    fn describe(&self) -> String {
        describe(&self.graph, self.last)
    }
}

/// `x.view(x.size(0), -1)` as the older exporter writes it.
#[test]
fn view_by_gathered_size() {
    let mut chain = Chain::of(&["n", "64", "7", "7"]);
    let x = chain.last;
    chain.then("Shape", &[]);
    let zero = chain.constant(&[0], true);
    chain.then("Gather", &[zero]);
    let axes = chain.constant(&[0], false);
    let batch = chain.then("Unsqueeze", &[axes]);
    let rest = chain.constant(&[-1], false);
    let target = chain.from(batch).with("Concat", &[rest], &[("axis", 0)]);
    chain.from(x).then("Reshape", &[target]);
    assert_eq!(chain.describe(), "float32[n, 3136]");
}

/// A channel shuffle: `[n, g, c / g, h, w]` transposed and flattened, with sizes computed in the graph.
#[test]
fn shuffle_of_computed_channels() {
    let mut chain = Chain::of(&["n", "116", "h", "w"]);
    let x = chain.last;
    let sizes = chain.then("Shape", &[]);
    let one = chain.constant(&[1], true);
    chain.then("Gather", &[one]);
    let two = chain.constant(&[2], true);
    chain.then("Div", &[two]);
    assert_eq!(chain.describe(), "int64[] = [58]");
    chain.with("Cast", &[], &[("to", 6)]);
    chain.with("Cast", &[], &[("to", 7)]);
    let axes = chain.constant(&[0], false);
    let part = chain.then("Unsqueeze", &[axes]);
    let (from, to) = (chain.constant(&[0], false), chain.constant(&[1], false));
    let batch = chain.from(sizes).then("Slice", &[from, to]);
    let groups = chain.constant(&[2], false);
    let (from, to) = (chain.constant(&[2], false), chain.constant(&[i64::MAX], false));
    let area = chain.from(sizes).then("Slice", &[from, to]);
    let target = chain.from(batch).with("Concat", &[groups, part, area], &[("axis", 0)]);
    chain.from(x).then("Reshape", &[target]);
    assert_eq!(chain.describe(), "float32[n, 2, 58, h, w]");
}

/// `torch.expand(-1, …)`: sizes of −1 are replaced by a comparison that the symbols decide.
#[test]
fn expansion_with_kept_sizes() {
    let mut chain = Chain::of(&["n", "197", "768"]);
    chain.then("Shape", &[]);
    let from = chain.constant(&[0], false);
    let to = chain.constant(&[1], false);
    let batch = chain.then("Slice", &[from, to]);
    let kept = chain.constant(&[-1, -1], false);
    let asked = chain.from(batch).with("Concat", &[kept], &[("axis", 0)]);
    let marks = chain.constant(&[-1, -1, -1], false);
    let same = chain.then("Equal", &[marks]);
    assert_eq!(chain.describe(), "bool[3] = [0, 1, 1]");
    let ones = chain.constant(&[1, 1, 1], false);
    let target = chain.from(same).then("Where", &[ones, asked]);
    assert_eq!(chain.describe(), "int64[3] = [n, 1, 1]");
    let token = Tensor::from_f32(vec![1, 1, 2], &[0.5, 0.25]).unwrap();
    let token = chain.graph.add_constant("token", token).unwrap();
    chain.from(token).then("Expand", &[target]);
    assert_eq!(chain.describe(), "float32[n, 1, 2]");
}

/// Sizes padded up to a multiple of a window, then counted in windows.
#[test]
fn windows_of_a_padded_size() {
    let mut chain = Chain::of(&["h"]);
    chain.then("Shape", &[]);
    let (six, seven) = (chain.constant(&[6], false), chain.constant(&[7], false));
    chain.then("Add", &[six]);
    let windows = chain.then("Div", &[seven]);
    chain.then("Mul", &[seven]);
    assert_eq!(chain.describe(), "int64[1] = [7*((h+6)//7)]");
    chain.then("Div", &[seven]);
    assert_eq!(chain.describe(), "int64[1] = [(h+6)//7]");
    chain.then("Sub", &[windows]);
    assert_eq!(chain.describe(), "int64[1] = [0]");
}

/// Numbers that are unknown stay so, and no size is made of one that may be −1.
#[test]
fn unknown_numbers_are_no_sizes() {
    let mut chain = Chain::of(&["4", "6"]);
    let x = chain.last;
    let unknown = chain.graph.add_input("k", ElementType::I64, Some(vec![Dim::known(1)])).unwrap();
    let two = chain.constant(&[2], false);
    let target = chain.from(unknown).with("Concat", &[two], &[("axis", 0)]);
    assert_eq!(chain.describe(), format!("int64[2] = [!{0}.0, 2]", chain.graph.value(target).name));
    chain.from(x).then("Reshape", &[target]);
    let name = chain.graph.value(chain.last).name.clone();
    assert_eq!(chain.describe(), format!("float32[?{name}.0, 2]"));
}
