//! Geometry of sliding windows: convolution, transposed convolution and pooling, of any number of spatial axes.
//!
//! `auto_pad`, `ceil_mode` and `output_shape` are resolved here and nowhere else, so that inference, interpretation
//! and derivatives agree on where each window lies. Sizes may be symbolic; what then stays unknown is `None`.
//!
//! A window of an output position `o` covers the input positions `o·stride + k·dilation − begin` for `k` in
//! `0..kernel`; those outside `0..input` are padding. A transposed convolution swaps the roles of input and output.

use crate::dim::{Dim, Shape};
use crate::node::Node;

/// Kernel sizes, strides, dilations and pads past this are refused, so that arithmetic on them cannot overflow.
const LARGEST: i64 = 1 << 31;

/// Windows along every spatial axis of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// One entry a spatial axis, in order.
    pub axes: Vec<WindowAxis>,
}

/// Windows along one axis; sizes may be symbolic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowAxis {
    /// Elements of the kernel.
    pub kernel: i64,
    /// Step from one window to the next.
    pub stride: i64,
    /// Step from one element of a window to the next.
    pub dilation: i64,
    /// Padding before the first and after the last element; `None` where it depends on a size that is not known
    /// (`auto_pad` of `SAME_…` with a stride).
    pub pads: Option<(i64, i64)>,
    /// Reach past the end padding. Pooling with `ceil_mode`: how far the last window leaves the padded input.
    /// Transposed convolution: output positions that no window reaches (`output_padding`). Convolution: 0.
    /// `None` where it depends on a size that is not known.
    pub extra_end: Option<i64>,
    /// Size of the input's axis.
    pub input: Dim,
    /// Size of the output's axis.
    pub output: Dim,
}

/// Windows along one axis of known size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedAxis {
    /// Elements of the kernel.
    pub kernel: i64,
    /// Step from one window to the next.
    pub stride: i64,
    /// Step from one element of a window to the next.
    pub dilation: i64,
    /// Padding before the first element.
    pub pad_begin: i64,
    /// Padding after the last element.
    pub pad_end: i64,
    /// Reach past the end padding; see [`WindowAxis::extra_end`].
    pub extra_end: i64,
    /// Size of the input's axis.
    pub input: i64,
    /// Size of the output's axis.
    pub output: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AutoPad {
    Explicit,
    SameUpper,
    SameLower,
    Valid,
}

/// The attributes shared by all three families, checked; pads are zero where `auto_pad` decides.
struct Attributes {
    strides: Vec<i64>,
    dilations: Vec<i64>,
    pads: Vec<i64>,
    auto_pad: AutoPad,
}

impl Window {
    /// Windows of a `Conv` node over an input of spatial sizes `input` with a kernel of spatial sizes `kernel`.
    ///
    /// Fails where attributes contradict each other or the sizes, or a window is larger than its padded input.
    pub fn of_conv(node: &Node, input: &[Dim], kernel: &[i64]) -> Result<Self, String> {
        Self::sliding(node, input, kernel, false)
    }

    /// Windows of a `MaxPool`, `AveragePool` or `LpPool` node over an input of spatial sizes `input`.
    ///
    /// With `ceil_mode` the last window may leave the padded input but must start inside the input or the padding
    /// before it. Fails as [`Window::of_conv`] does, and where a pad is as large as a window.
    pub fn of_pool(node: &Node, input: &[Dim]) -> Result<Self, String> {
        let kernel =
            node.ints("kernel_shape").ok_or_else(|| "attribute kernel_shape is missing".to_owned())?;
        let window = Self::sliding(node, input, kernel, node.int("ceil_mode", 0) != 0)?;
        for (axis, entry) in window.axes.iter().enumerate() {
            if let Some((begin, end)) = entry.pads
                && begin.max(end) >= entry.reach()
            {
                return Err(format!(
                    "pads ({begin}, {end}) of spatial axis {axis} must be smaller than the window of {}",
                    entry.reach()
                ));
            }
        }
        Ok(window)
    }

    /// Windows of a `ConvTranspose` node over an input of spatial sizes `input` with a kernel of spatial sizes
    /// `kernel`: `output = stride·(input − 1) + reach + extra_end − begin − end`.
    ///
    /// Where `output_shape` asks for less than the windows cover, the difference is padding, the larger half first
    /// unless `auto_pad` is `SAME_UPPER`; where it asks for more, zeros follow at the end.
    pub fn of_conv_transpose(node: &Node, input: &[Dim], kernel: &[i64]) -> Result<Self, String> {
        let attributes = Attributes::read(node, input.len(), kernel)?;
        let extra = ints(node, "output_padding", input.len(), 0, 0)?;
        let wanted = match node.ints("output_shape") {
            Some(_) => Some(ints(node, "output_shape", input.len(), 1, 1)?),
            None => None,
        };
        let axes = input.iter().enumerate().map(|(axis, size)| {
            attributes.transposed_axis(
                axis,
                size,
                kernel[axis],
                extra[axis],
                wanted.as_ref().map(|sizes| sizes[axis]),
            )
        });
        Ok(Self { axes: axes.collect::<Result<_, _>>()? })
    }

    /// Spatial sizes of the output.
    pub fn output(&self) -> Shape {
        self.axes.iter().map(|axis| axis.output.clone()).collect()
    }

    /// The same in numbers, where every size is known.
    pub fn fixed(&self) -> Option<Vec<FixedAxis>> {
        self.axes.iter().map(WindowAxis::fixed).collect()
    }

    fn sliding(node: &Node, input: &[Dim], kernel: &[i64], ceil: bool) -> Result<Self, String> {
        let attributes = Attributes::read(node, input.len(), kernel)?;
        let axes = input
            .iter()
            .enumerate()
            .map(|(axis, size)| attributes.sliding_axis(axis, size, kernel[axis], ceil));
        Ok(Self { axes: axes.collect::<Result<_, _>>()? })
    }
}

impl WindowAxis {
    /// From the first to the last element of a window, both included: `(kernel − 1)·dilation + 1`.
    pub fn reach(&self) -> i64 {
        reach(self.kernel, self.dilation)
    }

    /// The same in numbers, where the sizes are known.
    pub fn fixed(&self) -> Option<FixedAxis> {
        let (pad_begin, pad_end) = self.pads?;
        Some(FixedAxis {
            kernel: self.kernel,
            stride: self.stride,
            dilation: self.dilation,
            pad_begin,
            pad_end,
            extra_end: self.extra_end?,
            input: self.input.value()?,
            output: self.output.value()?,
        })
    }
}

impl FixedAxis {
    /// From the first to the last element of a window, both included: `(kernel − 1)·dilation + 1`.
    pub fn reach(&self) -> i64 {
        reach(self.kernel, self.dilation)
    }

    /// The input position under element `k` of the window at output position `o`; `None` where it is padding.
    /// For a transposed convolution, call it with input and output swapped: see [`FixedAxis::transposed`].
    pub fn position(&self, o: i64, k: i64) -> Option<i64> {
        let position = o * self.stride + k * self.dilation - self.pad_begin;
        (0..self.input).contains(&position).then_some(position)
    }

    /// The same windows seen from the other side: input and output sizes swapped.
    #[must_use]
    pub fn transposed(&self) -> Self {
        Self { input: self.output, output: self.input, ..*self }
    }
}

fn reach(kernel: i64, dilation: i64) -> i64 {
    (kernel - 1) * dilation + 1
}

fn overflow() -> String {
    "a size overflows".to_owned()
}

impl Attributes {
    fn read(node: &Node, rank: usize, kernel: &[i64]) -> Result<Self, String> {
        if rank == 0 {
            return Err("the input has no spatial axis".to_owned());
        }
        if let Some(declared) = node.ints("kernel_shape")
            && declared != kernel
        {
            return Err(format!("attribute kernel_shape {declared:?} contradicts the kernel {kernel:?}"));
        }
        if kernel.len() != rank {
            return Err(format!(
                "the kernel {kernel:?} has {} spatial axes, the input has {rank}",
                kernel.len()
            ));
        }
        if let Some(size) = kernel.iter().find(|size| !(1..=LARGEST).contains(*size)) {
            return Err(format!("kernel size {size} must be from 1 to {LARGEST}"));
        }
        let auto_pad = match node.string("auto_pad", "NOTSET") {
            "NOTSET" | "" => AutoPad::Explicit,
            "SAME_UPPER" => AutoPad::SameUpper,
            "SAME_LOWER" => AutoPad::SameLower,
            "VALID" => AutoPad::Valid,
            other => {
                return Err(format!("auto_pad {other:?} must be NOTSET, SAME_UPPER, SAME_LOWER or VALID"));
            }
        };
        let strides = ints(node, "strides", rank, 1, 1)?;
        let dilations = ints(node, "dilations", rank, 1, 1)?;
        if kernel.iter().zip(&dilations).any(|(size, step)| (size - 1) * step >= LARGEST) {
            return Err(format!(
                "a kernel {kernel:?} with dilations {dilations:?} reaches past {LARGEST} elements"
            ));
        }
        let pads = ints(node, "pads", 2 * rank, 0, 0)?;
        let pads = if auto_pad == AutoPad::Explicit { pads } else { vec![0; 2 * rank] };
        Ok(Self { strides, dilations, pads, auto_pad })
    }

    fn same(&self) -> bool {
        matches!(self.auto_pad, AutoPad::SameUpper | AutoPad::SameLower)
    }

    fn sliding_axis(&self, axis: usize, input: &Dim, kernel: i64, ceil: bool) -> Result<WindowAxis, String> {
        let rank = self.strides.len();
        let (stride, dilation) = (self.strides[axis], self.dilations[axis]);
        let reach = reach(kernel, dilation);
        let add = |dim: &Dim, number: i64| dim.plus(&Dim::known(number));
        let (pads, output);
        if self.same() {
            output = add(input, stride - 1).and_then(|sum| sum.floor_div(stride)).ok_or_else(overflow)?;
            let covered = match (input.value(), output.value()) {
                (Some(input), Some(output)) => {
                    Some((output - 1).checked_mul(stride).ok_or_else(overflow)? - input + reach)
                }
                _ if stride == 1 => Some(reach - 1),
                _ => None,
            };
            pads = covered.map(|total| {
                let total = total.max(0);
                let less = total / 2;
                if self.auto_pad == AutoPad::SameUpper { (less, total - less) } else { (total - less, less) }
            });
        } else {
            let (begin, end) = (self.pads[axis], self.pads[rank + axis]);
            pads = Some((begin, end));
            // Rounding up, the last window may start anywhere before the end of input and begin padding; that is
            // min(⌈(padded − reach) / stride⌉ + 1, ⌈(input + begin) / stride⌉) windows, in one expression.
            let shift = if ceil {
                begin + (end - reach + stride).min(0) + stride - 1
            } else {
                begin + end - reach + stride
            };
            output = add(input, shift).and_then(|sum| sum.floor_div(stride)).ok_or_else(overflow)?;
        }
        if let Some(count) = output.value()
            && count < 1
        {
            return Err(format!(
                "a window of {reach} does not fit spatial axis {axis} of size {input} with pads {:?}",
                pads.unwrap_or_default()
            ));
        }
        let extra_end = match (input.value(), output.value(), pads) {
            (Some(input), Some(output), Some((begin, end))) if ceil && !self.same() => Some(
                (output - 1)
                    .checked_mul(stride)
                    .and_then(|start| start.checked_add(reach - begin - end))
                    .and_then(|stop| stop.checked_sub(input))
                    .ok_or_else(overflow)?
                    .max(0),
            ),
            _ if ceil && !self.same() && stride > 1 => None,
            _ => Some(0),
        };
        Ok(WindowAxis { kernel, stride, dilation, pads, extra_end, input: input.clone(), output })
    }

    fn transposed_axis(
        &self,
        axis: usize,
        input: &Dim,
        kernel: i64,
        extra: i64,
        wanted: Option<i64>,
    ) -> Result<WindowAxis, String> {
        let rank = self.strides.len();
        let (stride, dilation) = (self.strides[axis], self.dilations[axis]);
        let reach = reach(kernel, dilation);
        if extra >= stride.max(dilation) {
            return Err(format!(
                "output_padding {extra} of spatial axis {axis} must be smaller than its stride {stride} or \
                 dilation {dilation}"
            ));
        }
        // Size without padding, so that whatever the output lacks is padding.
        let full = input.scaled(stride).and_then(|size| size.plus(&Dim::known(reach - stride + extra)));
        let full = full.ok_or_else(overflow)?;
        let output = match wanted {
            Some(size) => Dim::known(size),
            None if self.same() => input.scaled(stride).ok_or_else(overflow)?,
            None => {
                let pads = self.pads[axis] + self.pads[rank + axis];
                full.plus(&Dim::known(-pads)).ok_or_else(overflow)?
            }
        };
        if let Some(size) = output.value()
            && size < 1
        {
            return Err(format!(
                "pads ({}, {}) leave nothing of spatial axis {axis} of {full}",
                self.pads[axis],
                self.pads[rank + axis]
            ));
        }
        let (pads, extra_end) = if wanted.is_none() && !self.same() {
            (Some((self.pads[axis], self.pads[rank + axis])), Some(extra))
        } else {
            match full.minus(&output).ok_or_else(overflow)?.value() {
                Some(total) => {
                    let (total, missing) = (total.max(0), (-total).max(0));
                    let less = total / 2;
                    let pads = if self.auto_pad == AutoPad::SameUpper {
                        (less, total - less)
                    } else {
                        (total - less, less)
                    };
                    (Some(pads), Some(extra + missing))
                }
                None => (None, None),
            }
        };
        Ok(WindowAxis { kernel, stride, dilation, pads, extra_end, input: input.clone(), output })
    }
}

/// An integer-list attribute of `count` numbers from `least`, or that many times `default`.
fn ints(node: &Node, name: &str, count: usize, default: i64, least: i64) -> Result<Vec<i64>, String> {
    let Some(values) = node.ints(name) else {
        return Ok(vec![default; count]);
    };
    if values.len() != count {
        return Err(format!("attribute {name} {values:?} must have {count} numbers"));
    }
    if let Some(value) = values.iter().find(|value| !(least..=LARGEST).contains(*value)) {
        return Err(format!("attribute {name} {values:?}: {value} must be from {least} to {LARGEST}"));
    }
    Ok(values.to_vec())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::node::Attribute;

    fn node(attributes: &[(&str, &[i64])], auto_pad: &str, ceil: bool) -> Node {
        let mut all: BTreeMap<String, Attribute> = attributes
            .iter()
            .map(|(name, values)| ((*name).to_owned(), Attribute::Ints(values.to_vec())))
            .collect();
        all.insert("auto_pad".to_owned(), Attribute::String(auto_pad.to_owned()));
        all.insert("ceil_mode".to_owned(), Attribute::Int(i64::from(ceil)));
        Node {
            operator: String::new(),
            name: String::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            attributes: all,
            metadata: BTreeMap::new(),
        }
    }

    fn transposed(attributes: &[(&str, &[i64])], auto_pad: &str) -> Result<FixedAxis, String> {
        let window = Window::of_conv_transpose(&node(attributes, auto_pad, false), &[Dim::known(3)], &[3])?;
        Ok(window.fixed().expect("the size is known")[0])
    }

    #[test]
    fn same_pads_split_as_the_name_says() {
        for (auto_pad, pads) in [("SAME_UPPER", (1, 2)), ("SAME_LOWER", (2, 1))] {
            let node = node(&[("strides", &[2]), ("dilations", &[2])], auto_pad, false);
            let window = Window::of_conv(&node, &[Dim::known(6)], &[3]).unwrap();
            assert_eq!(window.axes[0].pads, Some(pads), "{auto_pad}");
            assert_eq!(window.output(), [Dim::known(3)]);
        }
    }

    #[test]
    fn same_pads_of_a_symbol_are_known_without_a_stride_alone() {
        let size = [Dim::symbol("h")];
        let strided = Window::of_conv(&node(&[("strides", &[2])], "SAME_UPPER", false), &size, &[3]).unwrap();
        assert_eq!(strided.axes[0].pads, None);
        assert_eq!(strided.output()[0].to_string(), "(h+1)//2");
        let plain = Window::of_conv(&node(&[], "SAME_UPPER", false), &size, &[4]).unwrap();
        assert_eq!(plain.axes[0].pads, Some((1, 2)));
        assert_eq!(plain.output(), size);
    }

    #[test]
    fn the_last_window_starts_inside_the_input() {
        // Of windows at 0, 3 and 6 over five elements, the last would hold nothing.
        let node = node(&[("kernel_shape", &[1]), ("strides", &[3])], "NOTSET", true);
        assert_eq!(Window::of_pool(&node, &[Dim::known(5)]).unwrap().output(), [Dim::known(2)]);
    }

    /// Sizes and pads as `onnxruntime` 1.30 and the definition agree on them.
    #[test]
    fn output_shape_of_a_transposed_convolution_decides_pads() {
        let strides: (&str, &[i64]) = ("strides", &[3]);
        for (auto_pad, size, begin, end, extra) in [
            ("NOTSET", 11, 0, 0, 2),
            ("NOTSET", 8, 1, 0, 0),
            ("NOTSET", 6, 2, 1, 0),
            ("SAME_UPPER", 8, 0, 1, 0),
            ("SAME_UPPER", 6, 1, 2, 0),
            ("SAME_LOWER", 6, 2, 1, 0),
        ] {
            let axis = transposed(&[strides, ("output_shape", &[size])], auto_pad).unwrap();
            assert_eq!(
                (axis.pad_begin, axis.pad_end, axis.extra_end),
                (begin, end, extra),
                "{auto_pad} {size}"
            );
            assert_eq!(axis.output, size);
        }
        assert_eq!(transposed(&[("strides", &[2])], "SAME_LOWER").unwrap().output, 6);
        let padded = transposed(&[("strides", &[2]), ("pads", &[1, 1]), ("output_padding", &[1])], "NOTSET");
        assert_eq!(padded.unwrap().output, 6);
    }

    #[test]
    fn contradictions_are_errors() {
        let conv = |attributes: &[(&str, &[i64])], auto_pad: &str| {
            Window::of_conv(&node(attributes, auto_pad, false), &[Dim::known(5)], &[3]).unwrap_err()
        };
        assert_eq!(conv(&[("strides", &[0])], ""), "attribute strides [0]: 0 must be from 1 to 2147483648");
        assert_eq!(conv(&[("pads", &[1])], ""), "attribute pads [1] must have 2 numbers");
        assert_eq!(
            conv(&[("pads", &[-1, 0])], ""),
            "attribute pads [-1, 0]: -1 must be from 0 to 2147483648"
        );
        assert_eq!(
            conv(&[("kernel_shape", &[2])], ""),
            "attribute kernel_shape [2] contradicts the kernel [3]"
        );
        assert_eq!(conv(&[], "SAME"), "auto_pad \"SAME\" must be NOTSET, SAME_UPPER, SAME_LOWER or VALID");
        assert_eq!(
            conv(&[("dilations", &[3])], ""),
            "a window of 7 does not fit spatial axis 0 of size 5 with pads (0, 0)"
        );
        let dilated = conv(&[("dilations", &[i64::from(i32::MAX)])], "");
        assert_eq!(dilated, "a kernel [3] with dilations [2147483647] reaches past 2147483648 elements");
        let pool = node(&[("kernel_shape", &[2]), ("pads", &[2, 0])], "", false);
        assert_eq!(
            Window::of_pool(&pool, &[Dim::known(5)]).unwrap_err(),
            "pads (2, 0) of spatial axis 0 must be smaller than the window of 2"
        );
        assert!(transposed(&[("output_padding", &[1])], "").is_err(), "as large as the stride");
        assert!(transposed(&[("pads", &[3, 3])], "").is_err(), "nothing is left");
        let huge = Dim::known(i64::MAX / 2);
        assert!(Window::of_conv_transpose(&node(&[("strides", &[4])], "", false), &[huge], &[3]).is_err());
    }

    /// Counts windows one by one.
    fn count(input: i64, reach: i64, stride: i64, begin: i64, end: i64, ceil: bool) -> i64 {
        let padded = input + begin + end;
        let mut windows = 0;
        loop {
            let start = windows * stride;
            // Rounding up, one more window takes what the last whole one left over, if it starts inside.
            let takes_rest = ceil && start < input + begin && start + reach < padded + stride;
            if start + reach > padded && !takes_rest {
                return windows;
            }
            windows += 1;
        }
    }

    proptest! {
        #[test]
        fn sizes_agree_with_counting(
            input in 1i64..40, kernel in 1i64..6, stride in 1i64..6, dilation in 1i64..4,
            begin in 0i64..16, end in 0i64..16, ceil: bool,
        ) {
            let reach = (kernel - 1) * dilation + 1;
            let (begin, end) = (begin % reach, end % reach);
            let node = node(
                &[("kernel_shape", &[kernel]), ("strides", &[stride]), ("dilations", &[dilation]),
                  ("pads", &[begin, end])],
                "NOTSET",
                ceil,
            );
            let counted = count(input, reach, stride, begin, end, ceil);
            let symbolic = Window::of_pool(&node, &[Dim::symbol("h")]).unwrap();
            let bound = symbolic.output()[0].bind(&BTreeMap::from([("h".to_owned(), input)])).unwrap();
            if let Ok(window) = Window::of_pool(&node, &[Dim::known(input)]) {
                let axis = window.fixed().unwrap()[0];
                prop_assert_eq!(axis.output, counted);
                prop_assert_eq!(bound.value(), Some(counted));
                let stop = (axis.output - 1) * stride + reach;
                prop_assert!(stop <= input + begin + end + axis.extra_end);
                prop_assert!(axis.extra_end == 0 || stop == input + begin + end + axis.extra_end);
                prop_assert!((axis.output - 1) * stride < input + begin);
            } else {
                prop_assert_eq!(counted, 0);
            }
        }

        #[test]
        fn a_transposed_convolution_undoes_the_size_of_a_convolution(
            input in 1i64..40, kernel in 1i64..6, stride in 1i64..6, dilation in 1i64..4,
            begin in 0i64..6, end in 0i64..6,
        ) {
            let attributes: [(&str, &[i64]); 3] =
                [("strides", &[stride]), ("dilations", &[dilation]), ("pads", &[begin, end])];
            if let Ok(window) = Window::of_conv(&node(&attributes, "", false), &[Dim::known(input)], &[kernel]) {
                let forward = window.fixed().unwrap()[0];
                let rest = input + begin + end - forward.reach() - (forward.output - 1) * stride;
                let back = Window::of_conv_transpose(
                    &node(&[attributes[0], attributes[1], attributes[2], ("output_padding", &[rest])], "", false),
                    &window.output(),
                    &[kernel],
                );
                prop_assert_eq!(back.unwrap().output(), vec![Dim::known(input)]);
            }
        }

        #[test]
        fn same_covers_every_element(
            input in 1i64..40, kernel in 1i64..6, stride in 1i64..6, upper: bool,
        ) {
            let auto_pad = if upper { "SAME_UPPER" } else { "SAME_LOWER" };
            let window =
                Window::of_conv(&node(&[("strides", &[stride])], auto_pad, false), &[Dim::known(input)], &[kernel]);
            let axis = window.unwrap().fixed().unwrap()[0];
            prop_assert_eq!(axis.output, (input + stride - 1) / stride);
            prop_assert!((axis.pad_begin - axis.pad_end).abs() <= 1);
            prop_assert!((axis.output - 1) * stride + kernel <= input + axis.pad_begin + axis.pad_end
                || axis.pad_begin == 0);
        }
    }
}
