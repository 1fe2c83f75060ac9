//! Weights in the form an engine reads, shared by every session of the process.
//!
//! A model, its gradient and its explanation hold the same constants. Where the bytes of a file lie aligned, an
//! engine reads them where they are; where it needs another form (aligned, widened, turned around), that form is made
//! once and found again, for as long as some session holds it. An entry keeps the bytes it was made from, so an
//! address cannot come to mean something else while the entry lives.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError, Weak};

use bytes::Bytes;
use pellucid_graph::{ElementType, Tensor};

/// What a form is made of: where the bytes lie, how they are read, and what is done to them.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    address: usize,
    length: usize,
    element: ElementType,
    form: Vec<usize>,
}

#[derive(Debug)]
struct Form {
    values: Vec<f32>,
    _source: Bytes,
}

struct Owner(Arc<Form>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0.values)
    }
}

static FORMS: LazyLock<Mutex<HashMap<Key, Weak<Form>>>> = LazyLock::new(Mutex::default);

/// The bytes of `values`, in their native order, without a copy.
fn share(form: Arc<Form>) -> Bytes {
    Bytes::from_owner(Owner(form))
}

struct Floats(Vec<f32>);

impl AsRef<[u8]> for Floats {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// A tensor of these values, without a copy; `None` where they do not fill the shape.
pub(crate) fn tensor(shape: Vec<usize>, values: Vec<f32>) -> Option<Tensor> {
    if cfg!(target_endian = "big") {
        return Tensor::from_f32(shape, &values).ok();
    }
    Tensor::new(ElementType::F32, shape, Bytes::from_owner(Floats(values))).ok()
}

/// A form of `tensor` of shape `shape`; `make` is called where no session holds it. `form` names what `make` does.
///
/// Only for hosts of little-endian order, whose `float32` values are what a [`Tensor`] holds.
pub(crate) fn form(
    tensor: &Tensor,
    form: Vec<usize>,
    shape: Vec<usize>,
    make: impl FnOnce(Vec<f32>) -> Vec<f32>,
) -> Tensor {
    let fallback = |values: Vec<f32>, shape: Vec<usize>| {
        Tensor::from_f32(shape, &values).unwrap_or_else(|_| tensor.clone())
    };
    if cfg!(target_endian = "big") {
        return fallback(make(tensor.to_f32()), shape);
    }
    let bytes = tensor.bytes();
    let key = Key { address: bytes.as_ptr().addr(), length: bytes.len(), element: tensor.element(), form };
    let mut forms = FORMS.lock().unwrap_or_else(PoisonError::into_inner);
    let found = forms.get(&key).and_then(Weak::upgrade);
    let form = found.unwrap_or_else(|| {
        let form = Arc::new(Form { values: make(tensor.to_f32()), _source: bytes.clone() });
        forms.retain(|_, form| form.strong_count() > 0);
        forms.insert(key, Arc::downgrade(&form));
        form
    });
    drop(forms);
    Tensor::new(ElementType::F32, shape, share(form)).unwrap_or_else(|_| tensor.clone())
}

/// The tensor as `float32`.
pub(crate) fn widened(tensor: &Tensor) -> Tensor {
    form(tensor, Vec::new(), tensor.shape().to_vec(), |values| values)
}

/// The tensor itself where its bytes can be read as they lie, else an aligned copy.
pub(crate) fn aligned(tensor: &Tensor) -> Tensor {
    if tensor.element() == ElementType::F32 && values(tensor).is_some() {
        return tensor.clone();
    }
    widened(tensor)
}

/// The values of a `float32` tensor where they lie; `None` where they are not aligned.
pub(crate) fn values(tensor: &Tensor) -> Option<&[f32]> {
    if cfg!(target_endian = "big") || tensor.element() != ElementType::F32 {
        return None;
    }
    if tensor.is_empty() {
        return Some(&[]);
    }
    bytemuck::try_cast_slice(tensor.bytes()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn misaligned() -> Tensor {
        let mut bytes = vec![0u8; 1];
        bytes.extend([1.0f32, 2.0, 3.0].iter().flat_map(|value| value.to_le_bytes()));
        let bytes = Bytes::from(bytes);
        let offset = usize::from(bytes.as_ptr().addr() % 4 != 3);
        Tensor::new(ElementType::F32, vec![2], bytes.slice(offset..offset + 8)).unwrap()
    }

    #[test]
    fn forms_are_made_once_and_found_again() {
        let tensor = misaligned();
        let (first, second) = (aligned(&tensor), aligned(&tensor));
        assert_eq!(first.to_f32(), tensor.to_f32());
        assert_eq!(first.bytes().as_ptr(), second.bytes().as_ptr(), "shared");
        assert_eq!(values(&first).unwrap(), tensor.to_f32());
        let turned = form(&tensor, vec![1], vec![2], |mut values| {
            values.reverse();
            values
        });
        assert_ne!(turned.bytes().as_ptr(), first.bytes().as_ptr(), "another form");
    }

    #[test]
    fn aligned_bytes_stay_where_they_are() {
        let tensor = aligned(&misaligned());
        assert_eq!(aligned(&tensor).bytes().as_ptr(), tensor.bytes().as_ptr());
    }

    #[test]
    fn half_precision_is_widened() {
        let half = Tensor::from_values(ElementType::F16, vec![2], &[0.5, -2.0]).unwrap();
        assert_eq!(values(&widened(&half)).unwrap(), [0.5, -2.0]);
    }
}
