//! Weights as onnxruntime holds them, shared by every session of the process.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use bytes::Bytes;
use ort::value::{DynValue, Tensor as OrtTensor};
use pellucid_graph::{ElementType, Tensor};

/// A weight that sessions share.
#[derive(Debug)]
pub(super) struct Weight {
    pub(super) value: Arc<DynValue>,
    /// Kept so that the address cannot come to mean something else while the entry lives.
    _source: Bytes,
}

/// Where a weight's bytes lie, and what they are.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    address: usize,
    element: ElementType,
    shape: Vec<usize>,
}

static WEIGHTS: LazyLock<Mutex<HashMap<Key, Weak<Weight>>>> = LazyLock::new(Mutex::default);

/// The weight for `tensor`; it is made where no session holds it.
pub(super) fn shared(tensor: &Tensor) -> Result<Arc<Weight>, ort::Error> {
    let bytes = tensor.bytes();
    let key =
        Key { address: bytes.as_ptr().addr(), element: tensor.element(), shape: tensor.shape().to_vec() };
    let mut weights = WEIGHTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(weight) = weights.get(&key).and_then(Weak::upgrade) {
        return Ok(weight);
    }
    let weight = Arc::new(Weight { value: Arc::new(value(tensor)?), _source: bytes.clone() });
    weights.retain(|_, weight| weight.strong_count() > 0);
    weights.insert(key, Arc::downgrade(&weight));
    Ok(weight)
}

fn value(tensor: &Tensor) -> Result<DynValue, ort::Error> {
    let shape = tensor.shape().to_vec();
    let integers = || tensor.to_i64().unwrap_or_default();
    Ok(match tensor.element() {
        ElementType::Bool => {
            let values: Vec<bool> = integers().into_iter().map(|value| value != 0).collect();
            OrtTensor::from_array((shape, values))?.into_dyn()
        }
        element if element.is_float() => OrtTensor::from_array((shape, tensor.to_f32()))?.into_dyn(),
        _ => OrtTensor::from_array((shape, integers()))?.into_dyn(),
    })
}
