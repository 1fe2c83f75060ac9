//! Arrays of the element types that engines take.

use ndarray::{ArrayD, Axis, IxDyn, Slice};
use pellucid_graph::{ElementType, Tensor};

/// An array.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    /// `float32`.
    F32(ArrayD<f32>),
    /// `float64`.
    F64(ArrayD<f64>),
    /// Every integer type.
    I64(ArrayD<i64>),
    /// Truth values.
    Bool(ArrayD<bool>),
}

impl Array {
    /// Sizes of the axes.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::F32(array) => array.shape(),
            Self::F64(array) => array.shape(),
            Self::I64(array) => array.shape(),
            Self::Bool(array) => array.shape(),
        }
    }

    /// Rounded to `float32`.
    pub fn to_f32(&self) -> ArrayD<f32> {
        match self {
            Self::F32(array) => array.clone(),
            Self::F64(array) => array.mapv(|value| value as f32),
            Self::I64(array) => array.mapv(|value| value as f32),
            Self::Bool(array) => array.mapv(|value| f32::from(u8::from(value))),
        }
    }

    /// The contents of a constant.
    pub fn from_tensor(tensor: &Tensor) -> Self {
        let shape = IxDyn(tensor.shape());
        match tensor.element() {
            ElementType::Bool => Self::Bool(
                ArrayD::from_shape_vec(shape, tensor.to_i64().unwrap()).unwrap().mapv(|value| value != 0),
            ),
            ElementType::F64 => Self::F64(ArrayD::from_shape_vec(shape, tensor.to_f64()).unwrap()),
            element if element.is_float() => {
                Self::F32(ArrayD::from_shape_vec(shape, tensor.to_f32()).unwrap())
            }
            _ => Self::I64(ArrayD::from_shape_vec(shape, tensor.to_i64().unwrap()).unwrap()),
        }
    }

    /// Part of the array along its first axis.
    pub fn rows(&self, range: std::ops::Range<usize>) -> Self {
        let slice = Slice::from(range);
        match self {
            Self::F32(array) => Self::F32(array.slice_axis(Axis(0), slice).to_owned()),
            Self::F64(array) => Self::F64(array.slice_axis(Axis(0), slice).to_owned()),
            Self::I64(array) => Self::I64(array.slice_axis(Axis(0), slice).to_owned()),
            Self::Bool(array) => Self::Bool(array.slice_axis(Axis(0), slice).to_owned()),
        }
    }
}
