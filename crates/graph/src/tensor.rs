//! Constant tensors: bytes that stay slices of the file they came from.

use bytes::Bytes;
use half::{bf16, f16};
use thiserror::Error;

use crate::element::ElementType;

/// A constant tensor in little-endian, row-major order. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Tensor {
    element: ElementType,
    shape: Vec<usize>,
    bytes: Bytes,
}

/// Why bytes are not a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TensorError {
    /// The product of the sizes does not fit in memory's address range.
    #[error("the sizes {0:?} multiply past the address range")]
    TooLarge(Vec<usize>),
    /// There are more or fewer bytes than the shape says.
    #[error("{element} of shape {shape:?} needs {expected} bytes, found {found}")]
    Length {
        /// Element type.
        element: ElementType,
        /// Declared sizes.
        shape: Vec<usize>,
        /// Bytes that the shape needs.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
}

/// Number of elements of a shape, or `None` where it overflows.
pub fn element_count(shape: &[usize]) -> Option<usize> {
    // A zero anywhere makes the tensor empty however large the rest is.
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1usize, |count, size| count.checked_mul(*size))
}

impl Tensor {
    /// A tensor over `bytes`.
    pub fn new(element: ElementType, shape: Vec<usize>, bytes: Bytes) -> Result<Self, TensorError> {
        let expected = element_count(&shape)
            .and_then(|count| count.checked_mul(element.size()))
            .ok_or_else(|| TensorError::TooLarge(shape.clone()))?;
        if expected != bytes.len() {
            return Err(TensorError::Length { element, shape, expected, found: bytes.len() });
        }
        Ok(Self { element, shape, bytes })
    }

    fn from_parts(element: ElementType, shape: Vec<usize>, bytes: Vec<u8>) -> Result<Self, TensorError> {
        Self::new(element, shape, Bytes::from(bytes))
    }

    /// A `float32` tensor.
    pub fn from_f32(shape: Vec<usize>, values: &[f32]) -> Result<Self, TensorError> {
        Self::from_parts(ElementType::F32, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// A `float64` tensor.
    pub fn from_f64(shape: Vec<usize>, values: &[f64]) -> Result<Self, TensorError> {
        Self::from_parts(ElementType::F64, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// An `int64` tensor.
    pub fn from_i64(shape: Vec<usize>, values: &[i64]) -> Result<Self, TensorError> {
        Self::from_parts(ElementType::I64, shape, values.iter().flat_map(|v| v.to_le_bytes()).collect())
    }

    /// A `bool` tensor.
    pub fn from_bool(shape: Vec<usize>, values: &[bool]) -> Result<Self, TensorError> {
        Self::from_parts(ElementType::Bool, shape, values.iter().map(|v| u8::from(*v)).collect())
    }

    /// A one-dimensional `int64` tensor: what ONNX takes for axes, shapes and pads.
    pub fn integers(values: &[i64]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self { element: ElementType::I64, shape: vec![values.len()], bytes: Bytes::from(bytes) }
    }

    /// A tensor of `element` with `values` rounded to it; integers are rounded toward zero and saturate.
    pub fn from_values(element: ElementType, shape: Vec<usize>, values: &[f64]) -> Result<Self, TensorError> {
        let mut bytes = Vec::with_capacity(values.len().saturating_mul(element.size()));
        for value in values {
            push_float(&mut bytes, element, *value);
        }
        Self::from_parts(element, shape, bytes)
    }

    /// A scalar of `element`.
    pub fn scalar(element: ElementType, value: f64) -> Self {
        let mut bytes = Vec::with_capacity(8);
        push_float(&mut bytes, element, value);
        Self { element, shape: Vec::new(), bytes: Bytes::from(bytes) }
    }

    /// Element type.
    pub fn element(&self) -> ElementType {
        self.element
    }

    /// Sizes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.element.size()
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The raw little-endian bytes, shared.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The same elements under other sizes.
    pub fn reshaped(&self, shape: Vec<usize>) -> Result<Self, TensorError> {
        Self::new(self.element, shape, self.bytes.clone())
    }

    /// Every element as `f64`: exact but for integers past 2^53.
    pub fn to_f64(&self) -> Vec<f64> {
        self.map(|chunk, element| match element {
            ElementType::F16 => f16::from_le_bytes(array(chunk)).to_f64(),
            ElementType::BF16 => bf16::from_le_bytes(array(chunk)).to_f64(),
            ElementType::F32 => f64::from(f32::from_le_bytes(array(chunk))),
            ElementType::F64 => f64::from_le_bytes(array(chunk)),
            #[expect(clippy::cast_precision_loss, reason = "documented: exact up to 2^53")]
            _ => integer(chunk, element) as f64,
        })
    }

    /// Every element as `f32`, rounded to nearest.
    pub fn to_f32(&self) -> Vec<f32> {
        self.map(|chunk, element| match element {
            ElementType::F32 => f32::from_le_bytes(array(chunk)),
            ElementType::F16 => f16::from_le_bytes(array(chunk)).to_f32(),
            ElementType::BF16 => bf16::from_le_bytes(array(chunk)).to_f32(),
            #[expect(clippy::cast_possible_truncation, reason = "documented: rounded to nearest")]
            ElementType::F64 => f64::from_le_bytes(array(chunk)) as f32,
            #[expect(clippy::cast_precision_loss, reason = "documented: rounded to nearest")]
            _ => integer(chunk, element) as f32,
        })
    }

    /// Every element as `i64`, or `None` for floats. Unsigned values past `i64::MAX` saturate.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        if self.element.is_float() {
            return None;
        }
        Some(self.map(integer))
    }

    fn map<T>(&self, convert: impl Fn(&[u8], ElementType) -> T) -> Vec<T> {
        self.bytes.chunks_exact(self.element.size()).map(|chunk| convert(chunk, self.element)).collect()
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor({}, {:?})", self.element, self.shape)
    }
}

fn array<const N: usize>(chunk: &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(chunk);
    bytes
}

fn integer(chunk: &[u8], element: ElementType) -> i64 {
    match element {
        ElementType::I8 => i64::from(i8::from_le_bytes(array(chunk))),
        ElementType::I16 => i64::from(i16::from_le_bytes(array(chunk))),
        ElementType::I32 => i64::from(i32::from_le_bytes(array(chunk))),
        ElementType::I64 => i64::from_le_bytes(array(chunk)),
        ElementType::U8 => i64::from(chunk[0]),
        ElementType::U16 => i64::from(u16::from_le_bytes(array(chunk))),
        ElementType::U32 => i64::from(u32::from_le_bytes(array(chunk))),
        ElementType::U64 => i64::try_from(u64::from_le_bytes(array(chunk))).unwrap_or(i64::MAX),
        ElementType::Bool => i64::from(chunk[0] != 0),
        ElementType::F16 | ElementType::BF16 | ElementType::F32 | ElementType::F64 => 0,
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` from float saturates, which is what is documented"
)]
fn push_float(bytes: &mut Vec<u8>, element: ElementType, value: f64) {
    match element {
        ElementType::F16 => bytes.extend(f16::from_f64(value).to_le_bytes()),
        ElementType::BF16 => bytes.extend(bf16::from_f64(value).to_le_bytes()),
        ElementType::F32 => bytes.extend((value as f32).to_le_bytes()),
        ElementType::F64 => bytes.extend(value.to_le_bytes()),
        ElementType::I8 => bytes.extend((value as i8).to_le_bytes()),
        ElementType::I16 => bytes.extend((value as i16).to_le_bytes()),
        ElementType::I32 => bytes.extend((value as i32).to_le_bytes()),
        ElementType::I64 => bytes.extend((value as i64).to_le_bytes()),
        ElementType::U8 => bytes.push(value as u8),
        ElementType::U16 => bytes.extend((value as u16).to_le_bytes()),
        ElementType::U32 => bytes.extend((value as u32).to_le_bytes()),
        ElementType::U64 => bytes.extend((value as u64).to_le_bytes()),
        ElementType::Bool => bytes.push(u8::from(value != 0.0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_and_overflow_are_checked() {
        let short = Tensor::new(ElementType::F32, vec![2, 2], Bytes::from_static(&[0; 12]));
        assert!(matches!(short, Err(TensorError::Length { expected: 16, found: 12, .. })));
        let huge = Tensor::new(ElementType::F32, vec![usize::MAX, 2], Bytes::new());
        assert!(matches!(huge, Err(TensorError::TooLarge(_))));
        assert!(Tensor::new(ElementType::F32, vec![usize::MAX, 2, 0], Bytes::new()).is_ok());
    }

    #[test]
    fn values_survive_every_element_type() {
        for element in ElementType::ALL {
            let tensor = Tensor::from_values(element, vec![2], &[0.0, 1.0]).unwrap();
            assert_eq!(tensor.to_f64(), [0.0, 1.0], "{element}");
            assert_eq!(tensor.to_i64().is_some(), !element.is_float());
        }
    }
}
