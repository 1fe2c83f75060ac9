//! Arrays as they enter and leave a session.

use ndarray::{ArrayD, IxDyn};
use pellucid_graph::{ElementType, Tensor, TensorError};
use pellucid_reference::Array as ReferenceArray;

/// A dense array of any rank.
///
/// Every integer type of ONNX travels as `i64`; `float16` and `bfloat16` travel as `f32`.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    /// `float32`, `float16`, `bfloat16`.
    F32(ArrayD<f32>),
    /// `float64`.
    F64(ArrayD<f64>),
    /// Signed and unsigned integers of every width.
    I64(ArrayD<i64>),
    /// Truth values.
    Bool(ArrayD<bool>),
}

/// The four kinds of [`Array`], without contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    F32,
    F64,
    I64,
    Bool,
}

impl Kind {
    /// The kind in which values of `element` travel.
    pub(crate) const fn of(element: ElementType) -> Self {
        match element {
            ElementType::Bool => Self::Bool,
            ElementType::F64 => Self::F64,
            element if element.is_float() => Self::F32,
            _ => Self::I64,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F64 => "float64",
            Self::I64 => "int64",
            Self::Bool => "bool",
        }
    }
}

impl Array {
    /// A `float32` array in row-major order; `None` where the sizes do not multiply to the number of values.
    pub fn from_f32(shape: &[usize], values: Vec<f32>) -> Option<Self> {
        ArrayD::from_shape_vec(IxDyn(shape), values).ok().map(Self::F32)
    }

    /// An `int64` array in row-major order; `None` where the sizes do not multiply to the number of values.
    pub fn from_i64(shape: &[usize], values: Vec<i64>) -> Option<Self> {
        ArrayD::from_shape_vec(IxDyn(shape), values).ok().map(Self::I64)
    }

    /// Sizes of the axes.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::F32(array) => array.shape(),
            Self::F64(array) => array.shape(),
            Self::I64(array) => array.shape(),
            Self::Bool(array) => array.shape(),
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(array) => array.len(),
            Self::F64(array) => array.len(),
            Self::I64(array) => array.len(),
            Self::Bool(array) => array.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The element type in which the contents are held.
    pub fn element(&self) -> ElementType {
        match self {
            Self::F32(_) => ElementType::F32,
            Self::F64(_) => ElementType::F64,
            Self::I64(_) => ElementType::I64,
            Self::Bool(_) => ElementType::Bool,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        Kind::of(self.element())
    }

    /// The array, where it holds `float32`.
    pub fn as_f32(&self) -> Option<&ArrayD<f32>> {
        match self {
            Self::F32(array) => Some(array),
            _ => None,
        }
    }

    /// The array, where it holds integers.
    pub fn as_i64(&self) -> Option<&ArrayD<i64>> {
        match self {
            Self::I64(array) => Some(array),
            _ => None,
        }
    }

    /// Every element rounded to `float32`; truth values become 0 and 1.
    pub fn to_f32(&self) -> ArrayD<f32> {
        match self {
            Self::F32(array) => array.clone(),
            #[expect(clippy::cast_possible_truncation, reason = "documented: rounded")]
            Self::F64(array) => array.mapv(|value| value as f32),
            Self::I64(array) => array.mapv(|value| value as f32),
            Self::Bool(array) => array.mapv(|value| f32::from(u8::from(value))),
        }
    }

    /// Every element as `float64`, exact but for integers past 2⁵³; truth values become 0 and 1.
    pub fn to_f64(&self) -> ArrayD<f64> {
        match self {
            Self::F32(array) => array.mapv(f64::from),
            Self::F64(array) => array.clone(),
            Self::I64(array) => array.mapv(|value| value as f64),
            Self::Bool(array) => array.mapv(|value| f64::from(u8::from(value))),
        }
    }

    /// The contents of a constant, in the kind its element type travels in.
    ///
    /// # Panics
    /// Never: a tensor has as many elements as its sizes say.
    pub fn from_tensor(tensor: &Tensor) -> Self {
        let shape = IxDyn(tensor.shape());
        let fits = "a tensor has as many elements as its sizes say";
        match Kind::of(tensor.element()) {
            Kind::F32 => Self::F32(ArrayD::from_shape_vec(shape, tensor.to_f32()).expect(fits)),
            Kind::F64 => Self::F64(ArrayD::from_shape_vec(shape, tensor.to_f64()).expect(fits)),
            Kind::I64 => {
                let values = tensor.to_i64().unwrap_or_default();
                Self::I64(ArrayD::from_shape_vec(shape, values).expect(fits))
            }
            Kind::Bool => {
                let values =
                    tensor.to_i64().unwrap_or_default().into_iter().map(|value| value != 0).collect();
                Self::Bool(ArrayD::from_shape_vec(shape, values).expect(fits))
            }
        }
    }

    /// The contents as a constant of a graph.
    pub fn to_tensor(&self) -> Result<Tensor, TensorError> {
        let shape = self.shape().to_vec();
        match self {
            Self::F32(array) => Tensor::from_f32(shape, array.as_standard_layout().as_slice().unwrap_or(&[])),
            Self::F64(array) => Tensor::from_f64(shape, array.as_standard_layout().as_slice().unwrap_or(&[])),
            Self::I64(array) => Tensor::from_i64(shape, array.as_standard_layout().as_slice().unwrap_or(&[])),
            Self::Bool(array) => {
                Tensor::from_bool(shape, array.as_standard_layout().as_slice().unwrap_or(&[]))
            }
        }
    }

    /// Part of the array along its first axis.
    ///
    /// # Panics
    /// Where the range leaves the axis, or the array is a scalar.
    #[must_use]
    pub fn rows(&self, range: std::ops::Range<usize>) -> Self {
        let slice = ndarray::Slice::from(range);
        match self {
            Self::F32(array) => Self::F32(array.slice_axis(ndarray::Axis(0), slice).to_owned()),
            Self::F64(array) => Self::F64(array.slice_axis(ndarray::Axis(0), slice).to_owned()),
            Self::I64(array) => Self::I64(array.slice_axis(ndarray::Axis(0), slice).to_owned()),
            Self::Bool(array) => Self::Bool(array.slice_axis(ndarray::Axis(0), slice).to_owned()),
        }
    }

    /// What the interpreter computes with.
    pub(crate) fn to_reference(&self) -> ReferenceArray {
        match self {
            Self::F32(array) => ReferenceArray::Float(array.mapv(f64::from)),
            Self::F64(array) => ReferenceArray::Float(array.clone()),
            Self::I64(array) => ReferenceArray::Int(array.clone()),
            Self::Bool(array) => ReferenceArray::Bool(array.clone()),
        }
    }

    /// A result of the interpreter, rounded to the element type of the value it stands for.
    pub(crate) fn from_reference(array: ReferenceArray, element: Option<ElementType>) -> Self {
        match array {
            ReferenceArray::Float(array) if element == Some(ElementType::F64) => Self::F64(array),
            #[expect(clippy::cast_possible_truncation, reason = "documented: rounded to the value's type")]
            ReferenceArray::Float(array) => Self::F32(array.mapv(|value| value as f32)),
            ReferenceArray::Int(array) => Self::I64(array),
            ReferenceArray::Bool(array) => Self::Bool(array),
        }
    }
}

impl From<ArrayD<f32>> for Array {
    fn from(array: ArrayD<f32>) -> Self {
        Self::F32(array)
    }
}

impl From<ArrayD<f64>> for Array {
    fn from(array: ArrayD<f64>) -> Self {
        Self::F64(array)
    }
}

impl From<ArrayD<i64>> for Array {
    fn from(array: ArrayD<i64>) -> Self {
        Self::I64(array)
    }
}

impl From<ArrayD<bool>> for Array {
    fn from(array: ArrayD<bool>) -> Self {
        Self::Bool(array)
    }
}

impl From<&Tensor> for Array {
    fn from(tensor: &Tensor) -> Self {
        Self::from_tensor(tensor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_survive_in_their_kind() {
        for element in ElementType::ALL {
            let tensor = Tensor::from_values(element, vec![2, 1], &[0.0, 1.0]).unwrap();
            let array = Array::from_tensor(&tensor);
            assert_eq!(array.shape(), [2, 1], "{element}");
            assert_eq!(array.to_f64().as_slice().unwrap(), [0.0, 1.0], "{element}");
            assert_eq!(array.to_tensor().unwrap().to_f64(), [0.0, 1.0], "{element}");
        }
    }

    #[test]
    fn transposed_arrays_keep_their_order() {
        let array = Array::F32(ndarray::arr2(&[[1.0f32, 2.0], [3.0, 4.0]]).reversed_axes().into_dyn());
        assert_eq!(array.to_tensor().unwrap().to_f32(), [1.0, 3.0, 2.0, 4.0]);
        assert_eq!(array.rows(1..2).to_f32().as_slice().unwrap(), [2.0, 4.0]);
    }
}
