//! Arrays as the interpreter computes with them: three kinds, whatever the file's element type.

use ndarray::{ArrayD, IxDyn};
use pellucid_graph::{ElementType, Tensor, TensorError};

/// An array of numbers or truth values, of any rank.
///
/// Floats of every width are `f64` and integers of every width `i64`; which width a value was declared with is the
/// graph's knowledge.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    /// Of a `float16`, `bfloat16`, `float32` or `float64` value.
    Float(ArrayD<f64>),
    /// Of an integer value.
    Int(ArrayD<i64>),
    /// Of a `bool` value.
    Bool(ArrayD<bool>),
}

/// Applies one expression to the inner array, whatever its kind, and wraps the result as the same kind.
macro_rules! same_kind {
    ($array:expr, $inner:ident => $body:expr) => {
        match $array {
            $crate::Array::Float($inner) => $crate::Array::Float($body),
            $crate::Array::Int($inner) => $crate::Array::Int($body),
            $crate::Array::Bool($inner) => $crate::Array::Bool($body),
        }
    };
}

pub(crate) use same_kind;

impl Array {
    /// Sizes of the axes.
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Float(array) => array.shape(),
            Self::Int(array) => array.shape(),
            Self::Bool(array) => array.shape(),
        }
    }

    /// Number of axes.
    pub fn rank(&self) -> usize {
        self.shape().len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Float(array) => array.len(),
            Self::Int(array) => array.len(),
            Self::Bool(array) => array.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `float`, `int` or `bool`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Float(_) => "float",
            Self::Int(_) => "int",
            Self::Bool(_) => "bool",
        }
    }

    /// Whether values of `element` are held as this kind.
    pub fn holds(&self, element: ElementType) -> bool {
        match self {
            Self::Float(_) => element.is_float(),
            Self::Bool(_) => element == ElementType::Bool,
            Self::Int(_) => !element.is_float() && element != ElementType::Bool,
        }
    }

    /// The floats, where it holds floats.
    pub fn as_float(&self) -> Option<&ArrayD<f64>> {
        match self {
            Self::Float(array) => Some(array),
            _ => None,
        }
    }

    /// The integers, where it holds integers.
    pub fn as_int(&self) -> Option<&ArrayD<i64>> {
        match self {
            Self::Int(array) => Some(array),
            _ => None,
        }
    }

    /// The truth values, where it holds them.
    pub fn as_bool(&self) -> Option<&ArrayD<bool>> {
        match self {
            Self::Bool(array) => Some(array),
            _ => None,
        }
    }

    /// Every element as `f64`: truth is 1, integers past 2^53 are rounded.
    pub fn to_floats(&self) -> ArrayD<f64> {
        match self {
            Self::Float(array) => array.clone(),
            Self::Int(array) => array.mapv(|value| value as f64),
            Self::Bool(array) => array.mapv(|value| f64::from(u8::from(value))),
        }
    }

    /// The same values as a tensor of `element`, rounded to it; integers are rounded toward zero and saturate.
    ///
    /// # Errors
    /// Where the bytes would not fit in memory's address range.
    pub fn to_tensor(&self, element: ElementType) -> Result<Tensor, TensorError> {
        let shape = self.shape().to_vec();
        if let (Self::Int(array), ElementType::I64 | ElementType::U64) = (self, element) {
            // Not through floats, which are exact up to 2^53 only.
            let values: Vec<i64> = array.iter().copied().collect();
            let tensor = Tensor::from_i64(shape.clone(), &values)?;
            return Tensor::new(element, shape, tensor.bytes().clone());
        }
        let values: Vec<f64> = self.to_floats().iter().copied().collect();
        Tensor::from_values(element, shape, &values)
    }

    pub(crate) fn is_standard_layout(&self) -> bool {
        match self {
            Self::Float(array) => array.is_standard_layout(),
            Self::Int(array) => array.is_standard_layout(),
            Self::Bool(array) => array.is_standard_layout(),
        }
    }

    /// The same array with its elements in row-major order, which every operator here relies on.
    pub(crate) fn into_standard_layout(self) -> Self {
        if self.is_standard_layout() {
            return self;
        }
        same_kind!(self, array => array.as_standard_layout().into_owned())
    }
}

impl TryFrom<&Tensor> for Array {
    type Error = TensorError;

    /// Unsigned integers past `i64::MAX` saturate. Fails for an empty tensor whose other sizes multiply past the
    /// address range.
    fn try_from(tensor: &Tensor) -> Result<Self, TensorError> {
        let shape = IxDyn(tensor.shape());
        let too_large = |_| TensorError::TooLarge(tensor.shape().to_vec());
        let element = tensor.element();
        if element.is_float() {
            return ArrayD::from_shape_vec(shape, tensor.to_f64()).map(Self::Float).map_err(too_large);
        }
        let values = tensor.to_i64().unwrap_or_default();
        if element == ElementType::Bool {
            let truths = values.into_iter().map(|value| value != 0).collect();
            return ArrayD::from_shape_vec(shape, truths).map(Self::Bool).map_err(too_large);
        }
        ArrayD::from_shape_vec(shape, values).map(Self::Int).map_err(too_large)
    }
}

impl From<ArrayD<f64>> for Array {
    fn from(array: ArrayD<f64>) -> Self {
        Self::Float(array)
    }
}

impl From<ArrayD<i64>> for Array {
    fn from(array: ArrayD<i64>) -> Self {
        Self::Int(array)
    }
}

impl From<ArrayD<bool>> for Array {
    fn from(array: ArrayD<bool>) -> Self {
        Self::Bool(array)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_of_every_element_type_survive() {
        for element in ElementType::ALL {
            let tensor = Tensor::from_values(element, vec![2, 1], &[0.0, 1.0]).unwrap();
            let array = Array::try_from(&tensor).unwrap();
            assert!(array.holds(element), "{element} became {}", array.kind());
            assert_eq!(array.shape(), [2, 1]);
            assert_eq!(array.to_tensor(element).unwrap(), tensor, "{element}");
        }
    }

    #[test]
    fn large_integers_stay_exact() {
        let array = Array::Int(ndarray::arr1(&[i64::MAX, i64::MIN, (1 << 53) + 1]).into_dyn());
        let tensor = array.to_tensor(ElementType::I64).unwrap();
        assert_eq!(Array::try_from(&tensor).unwrap(), array);
    }

    #[test]
    fn an_empty_tensor_of_absurd_sizes_is_an_error() {
        let tensor = Tensor::from_f32(vec![0, usize::MAX, 2], &[]).unwrap();
        assert!(matches!(Array::try_from(&tensor), Err(TensorError::TooLarge(_))));
    }
}
