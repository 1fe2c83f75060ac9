//! Convolutions and their transposes.

use pellucid_graph::{Attribute, NewNode, ValueId, Window, WindowAxis};

use super::rewrite::{Refusal, Rewrite, Step, known, never, node, whole};
use super::{Rule, Takes};
use crate::Engine;
use crate::weights;

pub(super) const RULES: &[(&str, Rule)] =
    &[("Conv", Rule::By(conv)), ("ConvTranspose", Rule::By(conv_transpose))];

/// One spatial axis, its padding in numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub(super) kernel: i64,
    pub(super) stride: i64,
    pub(super) dilation: i64,
    pub(super) begin: i64,
    pub(super) end: i64,
    extra: i64,
}

/// A convolution to be written.
struct Convolution {
    x: ValueId,
    weight: ValueId,
    bias: Option<ValueId>,
    group: i64,
    axes: Vec<Axis>,
}

/// The axes' geometry, whatever attribute it came from.
pub(super) fn pads(axes: &[WindowAxis]) -> Step<Vec<(i64, i64)>> {
    axes.iter()
        .map(|axis| {
            axis.pads.ok_or_else(|| Refusal::Sizes(format!("padding depends on size {}", axis.input)))
        })
        .collect()
}

fn geometry(window: &Window) -> Step<Vec<Axis>> {
    let pads = pads(&window.axes)?;
    let axes = window.axes.iter().zip(pads).map(|(axis, (begin, end))| {
        let extra = axis
            .extra_end
            .ok_or_else(|| Refusal::Sizes(format!("the output depends on size {}", axis.input)))?;
        Ok(Axis { kernel: axis.kernel, stride: axis.stride, dilation: axis.dilation, begin, end, extra })
    });
    axes.collect()
}

/// Sizes of the kernel's spatial axes.
fn kernel(r: &Rewrite<'_>, weight: ValueId) -> Step<Vec<i64>> {
    r.shape(weight)?.iter().skip(2).map(|size| known(size).map(whole)).collect()
}

/// rten reads neither the kernel's size from the weights nor `SAME_LOWER`, so every attribute is written out.
fn conv(r: &mut Rewrite<'_>) -> Step<()> {
    let (x, weight) = (r.x(0)?, r.x(1)?);
    r.require(x, Takes::Floats)?;
    let kernel = kernel(r, weight)?;
    let spatial = r.shape(x)?.get(2..).unwrap_or_default().to_vec();
    if spatial.len() != kernel.len() {
        return never(format!("{} spatial axes, but a kernel of {}", spatial.len(), kernel.len()));
    }
    let window = Window::of_conv(r.node, &spatial, &kernel).map_err(Refusal::Never)?;
    let spec =
        Convolution { x, weight, bias: r.maybe(2), group: r.node.int("group", 1), axes: geometry(&window)? };
    let products = if r.made.native || spec.bias.is_some() {
        None
    } else if spec.group == 1 {
        super::weights::derivative(r, &spec.axes)?
    } else {
        super::weights::derivative_of_groups(r, &spec.axes, spec.group)?
    };
    let y = products.map_or_else(|| write_conv(r, &spec), Ok)?;
    r.done(y)
}

fn with_geometry(new: NewNode, axes: &[Axis], group: i64) -> NewNode {
    let list = |pick: fn(&Axis) -> i64| Attribute::Ints(axes.iter().map(pick).collect());
    let pads = axes.iter().map(|axis| axis.begin).chain(axes.iter().map(|axis| axis.end)).collect();
    new.with("kernel_shape", list(|axis| axis.kernel))
        .with("strides", list(|axis| axis.stride))
        .with("dilations", list(|axis| axis.dilation))
        .with("pads", Attribute::Ints(pads))
        .with("group", Attribute::Int(group))
}

fn write_conv(r: &mut Rewrite<'_>, spec: &Convolution) -> Step<ValueId> {
    match spec.axes.len() {
        1 | 2 => {
            let inputs: Vec<ValueId> = [spec.x, spec.weight].into_iter().chain(spec.bias).collect();
            r.add(with_geometry(node("Conv", &inputs), &spec.axes, spec.group))
        }
        3 => conv_of_volumes(r, spec),
        count => never(format!("{count} spatial axes; 1 to 3 are computed")),
    }
}

/// rten convolves over at most two axes. The slices that a window covers in depth become channels, next to each other,
/// so that the kernel needs a reshape only:
/// `[n, c, d, h, w] → [n·d', c·k, h, w]`, kernel `[o, c/g, k, …] → [o, c/g·k, …]`, and back.
fn conv_of_volumes(r: &mut Rewrite<'_>, spec: &Convolution) -> Step<ValueId> {
    let shape = r.shape(spec.x)?;
    let [_, channels, depth, height, width] = shape.as_slice() else {
        return never(format!("{} axes, expected 5", shape.len()));
    };
    let (channels, depth) = (whole(known(channels)?), whole(known(depth)?));
    let (height, width) = (whole(known(height)?), whole(known(width)?));
    let deep = spec.axes[0];
    let reach = (deep.kernel - 1) * deep.dilation + 1;
    let slices = (depth + deep.begin + deep.end - reach) / deep.stride + 1;
    let x = r.transpose(spec.x, &[0, 2, 1, 3, 4])?;
    let x = r.pad(x, 1, deep.begin, deep.end, 0.0)?;
    let mut parts = Vec::new();
    for k in 0..deep.kernel {
        let part = r.stride(x, 1, k * deep.dilation, slices, deep.stride)?;
        parts.push(if deep.kernel == 1 { part } else { r.unsqueeze(part, &[3])? });
    }
    let stacked = r.concat(&parts, 3)?;
    let images = r.reshape(stacked, &[-1, channels * deep.kernel, height, width])?;
    let weight_shape = r.sizes(spec.weight)?;
    let flat: Vec<i64> = vec![
        whole(weight_shape[0]),
        whole(weight_shape[1]) * deep.kernel,
        spec.axes[1].kernel,
        spec.axes[2].kernel,
    ];
    let weight = r.reshape(spec.weight, &flat)?;
    let flat =
        Convolution { x: images, weight, bias: spec.bias, group: spec.group, axes: spec.axes[1..].to_vec() };
    let y = write_conv(r, &flat)?;
    back_to_volumes(r, y, slices)
}

/// `[n·d, o, h, w] → [n, o, d, h, w]`.
fn back_to_volumes(r: &mut Rewrite<'_>, y: ValueId, slices: i64) -> Step<ValueId> {
    let shape = r.shape(y)?;
    let rest: Vec<i64> =
        shape.iter().skip(1).map(|size| known(size).map(whole)).collect::<Step<Vec<i64>>>()?;
    let target: Vec<i64> = [-1, slices].into_iter().chain(rest).collect();
    let y = r.reshape(y, &target)?;
    r.transpose(y, &[0, 2, 1, 3, 4])
}

/// A constant kernel of more bytes than this is not turned around: a second copy of the weights of a large network is
/// more than all its activations. rten's transposed convolution, a matrix product and a sum over windows, took 1.0 to
/// 1.5 times as long for such kernels, which belong to layers of many channels and few places, and 1.0 to 2.3 times for
/// smaller ones. No kernel of ResNet-50, VGG-16 or DenseNet-121 is as large.
const TURNED_BYTES: usize = 16 << 20;

/// Nor are kernels turned around once those of the graph take as much as this together, in the order of the nodes. All of
/// ResNet-152 take 190 MB.
const TURNED_TOGETHER: usize = 192 << 20;

/// With stride 1 a transposed convolution is a convolution with the kernel turned around, several times as fast here,
/// but for kernels above [`TURNED_BYTES`] and [`TURNED_TOGETHER`]; other strides stay, and depth is taken apart as in [`conv_of_volumes`]. rten
/// does not read `output_shape`.
fn conv_transpose(r: &mut Rewrite<'_>) -> Step<()> {
    let (x, weight) = (r.x(0)?, r.x(1)?);
    r.require(x, Takes::Floats)?;
    let kernel = kernel(r, weight)?;
    let spatial = r.shape(x)?.get(2..).unwrap_or_default().to_vec();
    if spatial.len() != kernel.len() {
        return never(format!("{} spatial axes, but a kernel of {}", spatial.len(), kernel.len()));
    }
    let window = Window::of_conv_transpose(r.node, &spatial, &kernel).map_err(Refusal::Never)?;
    let axes = geometry(&window)?;
    let group = r.node.int("group", 1);
    let spec = Convolution { x, weight, bias: r.maybe(2), group, axes };
    let turned: Vec<Axis> = spec.axes.iter().map(turned).collect();
    let unit = spec.axes.iter().all(|axis| axis.stride == 1);
    let bytes = r.graph.constant(weight).map_or(0, |tensor| tensor.bytes().len());
    let large = bytes > TURNED_BYTES || bytes.saturating_add(r.made.turned) > TURNED_TOGETHER;
    // A kernel of this crate reads fed weights as they lie.
    let native = r.made.native && r.graph.constant(weight).is_none();
    let keeps = native || large && r.engine == Engine::Rten;
    let y = if unit && !keeps && turned.iter().all(|axis| axis.begin >= 0 && axis.end >= 0) {
        r.made.turned = r.made.turned.saturating_add(bytes);
        let weight = turn(r, weight, group)?;
        write_conv(r, &Convolution { weight, axes: turned, ..spec })?
    } else {
        write_transpose(r, &spec)?
    };
    r.done(y)
}

/// The same windows seen from the output, for stride 1.
fn turned(axis: &Axis) -> Axis {
    let reach = (axis.kernel - 1) * axis.dilation;
    Axis { begin: reach - axis.begin, end: reach - axis.end + axis.extra, extra: 0, ..*axis }
}

fn write_transpose(r: &mut Rewrite<'_>, spec: &Convolution) -> Step<ValueId> {
    match spec.axes.len() {
        1 | 2 => {
            let inputs: Vec<ValueId> = [spec.x, spec.weight].into_iter().chain(spec.bias).collect();
            let extra = spec.axes.iter().map(|axis| axis.extra).collect();
            let new = with_geometry(node("ConvTranspose", &inputs), &spec.axes, spec.group);
            r.add(new.with("output_padding", Attribute::Ints(extra)))
        }
        3 => transpose_of_volumes(r, spec),
        count => never(format!("{count} spatial axes; 1 to 3 are computed")),
    }
}

/// The kernel `[c, o/g, …]` of a transposed convolution as that `[o, c/g, …]` of a convolution, mirrored in space.
fn turn(r: &mut Rewrite<'_>, weight: ValueId, group: i64) -> Step<ValueId> {
    let shape = r.sizes(weight)?;
    let groups = usize::try_from(group).ok().filter(|g| *g > 0 && shape[0] % g == 0);
    let Some(groups) = groups else { return never(format!("{} channels in {group} groups", shape[0])) };
    let (inputs, outputs) = (shape[0] / groups, shape[1]);
    let space: usize = shape[2..].iter().product();
    let mut target = vec![groups * outputs, inputs];
    target.extend(&shape[2..]);
    // onnxruntime folds it when it loads the graph, and holds no copy beside.
    if let Some(tensor) = r.graph.constant(weight).filter(|_| r.engine != Engine::Onnxruntime) {
        let form = [&[1, groups], shape.as_slice()].concat();
        let turned = weights::form(tensor, form, target, |values| {
            let mut turned = Vec::with_capacity(values.len());
            for g in 0..groups {
                for o in 0..outputs {
                    for i in 0..inputs {
                        let start = ((g * inputs + i) * outputs + o) * space;
                        turned.extend(values[start..start + space].iter().rev());
                    }
                }
            }
            turned
        });
        return r.constant(turned);
    }
    let mut split = vec![whole(groups), whole(inputs), whole(outputs)];
    split.extend(shape[2..].iter().map(|size| whole(*size)));
    let y = r.reshape(weight, &split)?;
    let order: Vec<i64> = [0, 2, 1].into_iter().chain(3..whole(split.len())).collect();
    let y = r.transpose(y, &order)?;
    let target: Vec<i64> = target.into_iter().map(whole).collect();
    let y = r.reshape(y, &target)?;
    let axes: Vec<usize> = (2..target.len()).filter(|axis| target[*axis] > 1).collect();
    if axes.is_empty() { Ok(y) } else { r.mirror(y, &axes) }
}

/// Depth taken apart: every kernel slice transposes all input slices, and its images land `stride` apart.
fn transpose_of_volumes(r: &mut Rewrite<'_>, spec: &Convolution) -> Step<ValueId> {
    let shape = r.sizes_but_first(spec.x)?;
    let [channels, depth, height, width] = shape[..] else {
        return never(format!("{} axes, expected 5", shape.len() + 1));
    };
    let deep = spec.axes[0];
    let covered = (whole(depth) - 1) * deep.stride + 1;
    let length = covered + (deep.kernel - 1) * deep.dilation + deep.extra;
    let x = r.transpose(spec.x, &[0, 2, 1, 3, 4])?;
    let x = r.reshape(x, &[-1, whole(channels), whole(height), whole(width)])?;
    let mut sum: Option<ValueId> = None;
    for k in 0..deep.kernel {
        let slice = r.integer(k)?;
        let weight = r.add(node("Gather", &[spec.weight, slice]).with("axis", Attribute::Int(2)))?;
        let flat = Convolution { x, weight, bias: None, group: spec.group, axes: spec.axes[1..].to_vec() };
        let y = write_transpose(r, &flat)?;
        let y = back_to_volumes(r, y, whole(depth))?;
        let y = spread(r, y, deep.stride, covered)?;
        let offset = k * deep.dilation;
        let y = r.pad(y, 2, offset, length - covered - offset, 0.0)?;
        sum = Some(match sum {
            Some(sum) => r.op("Add", &[sum, y])?,
            None => y,
        });
    }
    let Some(sum) = sum else { return never("the kernel is empty") };
    let y = r.slice(sum, 2, deep.begin, length - deep.end, 1)?;
    let Some(bias) = spec.bias else { return Ok(y) };
    let bias = r.reshape(bias, &[1, -1, 1, 1, 1])?;
    r.op("Add", &[y, bias])
}

/// Puts `stride − 1` zeros after every slice in depth, but after the last.
fn spread(r: &mut Rewrite<'_>, y: ValueId, stride: i64, covered: i64) -> Step<ValueId> {
    if stride == 1 {
        return Ok(y);
    }
    let shape = r.sizes_but_first(y)?;
    let y = r.unsqueeze(y, &[3])?;
    let y = r.pad(y, 3, 0, stride - 1, 0.0)?;
    let mut target = vec![-1];
    target.extend(shape.iter().map(|size| whole(*size)));
    target[2] *= stride;
    let y = r.reshape(y, &target)?;
    r.slice(y, 2, 0, covered, 1)
}

#[cfg(test)]
mod tests {
    use pellucid_graph::{Dim, ElementType, Graph, NewNode, Tensor};

    use super::*;
    use crate::lower::lower;

    /// Kernels are turned around until [`TURNED_TOGETHER`] is spent, and read as they lie from there on.
    #[test]
    fn second_copies_of_kernels_are_limited_together() {
        let (channels, count) = (3072, 18);
        let mut graph = Graph::new();
        let one = Dim::known(1);
        let shape = vec![one.clone(), Dim::known(i64::from(channels)), one.clone(), one];
        let x = graph.add_input("x", ElementType::F32, Some(shape)).unwrap();
        let elements = usize::try_from(channels).unwrap() * 1024;
        let kernel = Tensor::from_f32(vec![elements / 1024, 1024, 1, 1], &vec![1.0; elements]).unwrap();
        let fits = TURNED_TOGETHER / kernel.bytes().len();
        assert!(kernel.bytes().len() <= TURNED_BYTES && fits < count);
        let kernel = graph.add_constant("kernel", kernel).unwrap();
        for k in 0..count {
            let y = graph.push_one(NewNode::new("ConvTranspose", &[x, kernel], format!("y{k}"))).unwrap();
            graph.add_output(y).unwrap();
        }
        let lowered = lower(&graph, Engine::Rten, false).unwrap();
        let kept = lowered.graph.nodes().iter().filter(|node| node.operator == "ConvTranspose").count();
        assert_eq!(kept, count - fits);
    }
}
