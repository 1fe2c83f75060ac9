//! Sliding windows as lists of positions: which input each element of a window covers.

use pellucid_graph::Dim;
use pellucid_graph::window::{FixedAxis, Window};

use crate::call::{signed, strides};
use crate::error::Problem;

/// Windows of known sizes over every spatial axis.
pub(crate) struct Windows {
    axes: Vec<FixedAxis>,
    strides: Vec<usize>,
    /// Spatial sizes of the kernel.
    pub(crate) kernel: Vec<usize>,
    /// Spatial sizes of the output.
    pub(crate) output: Vec<usize>,
}

/// Spatial sizes as the geometry takes them.
pub(crate) fn dims(sizes: &[usize]) -> Vec<Dim> {
    sizes.iter().map(|size| Dim::from(*size)).collect()
}

impl Windows {
    pub(crate) fn new(window: Result<Window, String>) -> Result<Self, Problem> {
        let axes = window?.fixed().ok_or("the windows' sizes are not numbers")?;
        Ok(Self::over(axes))
    }

    fn over(axes: Vec<FixedAxis>) -> Self {
        let sizes = |size: fn(&FixedAxis) -> i64| -> Vec<usize> {
            axes.iter().map(|axis| usize::try_from(size(axis)).unwrap_or(0)).collect()
        };
        let strides = strides(&sizes(|axis| axis.input));
        Self { strides, kernel: sizes(|axis| axis.kernel), output: sizes(|axis| axis.output), axes }
    }

    /// The same windows with the roles of input and output swapped, as a transposed convolution sees them.
    pub(crate) fn transposed(&self) -> Self {
        Self::over(self.axes.iter().map(FixedAxis::transposed).collect())
    }

    /// The row-major position in the input under `element` of the window at `output`; `None` for padding.
    pub(crate) fn position(&self, output: &[usize], element: &[usize]) -> Option<usize> {
        let mut place = 0;
        for (axis, window) in self.axes.iter().enumerate() {
            let (o, k) = (i64::try_from(output[axis]).ok()?, i64::try_from(element[axis]).ok()?);
            place += usize::try_from(window.position(o, k)?).ok()? * self.strides[axis];
        }
        Some(place)
    }

    /// Input positions under the window at `output`, in window order, padding left out.
    ///
    /// Costs as much as there are, however large the kernel is declared.
    pub(crate) fn covered(&self, output: &[usize]) -> Vec<usize> {
        let mut places = vec![0];
        for (axis, (window, o)) in self.axes.iter().zip(output).enumerate() {
            let start = begin(window, *o);
            let first = ceil_div(-start, window.dilation).max(0);
            let last = ceil_div(window.input - start, window.dilation).min(window.kernel);
            let along: Vec<usize> = (first..last)
                .filter_map(|k| usize::try_from(start + k * window.dilation).ok())
                .map(|position| position * self.strides[axis])
                .collect();
            places = places.iter().flat_map(|place| along.iter().map(move |step| place + step)).collect();
        }
        places
    }

    /// How many elements of the window at `output` lie in the input or its declared padding: all but those that
    /// `ceil_mode` lets reach past the end.
    pub(crate) fn counted(&self, output: &[usize]) -> f64 {
        let along = |(window, o): (&FixedAxis, &usize)| {
            let end = window.input + window.pad_end;
            ceil_div(end - begin(window, *o), window.dilation).clamp(0, window.kernel) as f64
        };
        self.axes.iter().zip(output).map(along).product()
    }
}

/// Where the window at output `o` starts; before the input it is negative.
fn begin(window: &FixedAxis, o: usize) -> i64 {
    signed(o).saturating_mul(window.stride) - window.pad_begin
}

/// The quotient by a positive number, rounded up.
fn ceil_div(numerator: i64, denominator: i64) -> i64 {
    -(-numerator).div_euclid(denominator)
}
