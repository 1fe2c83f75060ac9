//! Where a tensor's numbers lie in a file.

use bytes::{Bytes, BytesMut};
use pellucid_graph::{ElementType, Tensor, element_count};

use crate::pickle::{Storage, TensorOf};

/// Most bytes of a tensor that is put together from elements apart: a stride of 0 makes many of one.
const MOST_GATHERED: usize = 4 << 30;

/// A tensor of a file, checked: every element is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) element: ElementType,
    pub(crate) shape: Vec<usize>,
    /// Elements between neighbours of each axis.
    strides: Vec<usize>,
    /// The byte of the first element.
    start: usize,
}

impl Stored {
    /// A tensor whose numbers lie together from byte `start` on, `end` being the byte behind.
    pub(crate) fn whole(
        element: ElementType,
        shape: Vec<usize>,
        start: usize,
        end: usize,
    ) -> Result<Self, String> {
        let bytes = element_count(&shape).and_then(|count| count.checked_mul(element.size()));
        if bytes.is_none() || bytes != end.checked_sub(start) {
            return Err(format!(
                "its sizes {shape:?} are not those of its {} bytes",
                end.saturating_sub(start)
            ));
        }
        Ok(Self { element, strides: packed(&shape), shape, start })
    }

    /// A tensor of a storage that takes `bytes` of the file, first byte and number.
    pub(crate) fn of(
        tensor: &TensorOf,
        storage: &Storage<'_>,
        bytes: (usize, usize),
    ) -> Result<Self, String> {
        let element = storage.element;
        let size = element.size();
        let (first, length) = storage.view.unwrap_or((0, storage.length));
        let inside = first.checked_add(length).is_some_and(|end| end <= storage.length);
        if !inside {
            return Err("a part of a storage reaches past its end".to_owned());
        }
        // The last element that is touched, counted in the storage's part.
        let mut last = Some(tensor.offset);
        for (size, stride) in tensor.shape.iter().zip(&tensor.strides) {
            let steps = size.saturating_sub(1).checked_mul(*stride);
            let steps = steps.and_then(|steps| u64::try_from(steps).ok());
            last = last.zip(steps).and_then(|(last, steps)| last.checked_add(steps));
        }
        let empty = tensor.shape.contains(&0);
        if !empty && last.is_none_or(|last| last >= length) {
            return Err(format!(
                "its sizes {:?} with the strides {:?} reach past its storage of {length} elements",
                tensor.shape, tensor.strides
            ));
        }
        let outside = || "its storage reaches past the end of the file".to_owned();
        if element_count(&tensor.shape).is_none() {
            return Err(format!("its sizes {:?} multiply past any memory", tensor.shape));
        }
        let offset = first.checked_add(tensor.offset).and_then(|offset| usize::try_from(offset).ok());
        let start = offset.and_then(|offset| offset.checked_mul(size)).filter(|start| *start <= bytes.1);
        let start = if empty { bytes.0 } else { bytes.0 + start.ok_or_else(outside)? };
        Ok(Self { element, shape: tensor.shape.clone(), strides: tensor.strides.clone(), start })
    }

    /// Whether the numbers lie together, in the order of the axes.
    fn is_packed(&self) -> bool {
        let packed = packed(&self.shape);
        self.shape.iter().zip(packed.iter().zip(&self.strides)).all(|(size, (a, b))| *size == 1 || a == b)
    }

    pub(crate) fn tensor(&self, file: &Bytes) -> Result<Tensor, String> {
        let size = self.element.size();
        let length = element_count(&self.shape).and_then(|count| count.checked_mul(size));
        let length = length.ok_or_else(|| "it is larger than any memory".to_owned())?;
        let cut = || "it reaches past the end of the file".to_owned();
        let bytes = if length == 0 {
            Bytes::new()
        } else if self.is_packed() {
            let end = self.start.checked_add(length).filter(|end| *end <= file.len()).ok_or_else(cut)?;
            file.slice(self.start..end)
        } else {
            self.gathered(file, length)?
        };
        Tensor::new(self.element, self.shape.clone(), bytes).map_err(|error| error.to_string())
    }

    /// The elements, one by one, last axis fastest.
    fn gathered(&self, file: &[u8], length: usize) -> Result<Bytes, String> {
        if length > MOST_GATHERED {
            return Err(format!("its {length} bytes lie apart; at most {MOST_GATHERED} are put together"));
        }
        let size = self.element.size();
        let mut bytes = BytesMut::with_capacity(length);
        let mut place = vec![0usize; self.shape.len()];
        let mut element = 0usize;
        while bytes.len() < length {
            let start = self.start + element * size;
            let found = file.get(start..start + size).ok_or("it reaches past the end of the file")?;
            bytes.extend_from_slice(found);
            for axis in (0..self.shape.len()).rev() {
                place[axis] += 1;
                element += self.strides[axis];
                if place[axis] < self.shape[axis] {
                    break;
                }
                element -= self.strides[axis] * place[axis];
                place[axis] = 0;
            }
        }
        Ok(bytes.freeze())
    }
}

/// Strides of numbers that lie together, the last axis fastest.
fn packed(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = shape[axis].saturating_mul(strides[axis]);
    }
    strides
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(
        offset: u64,
        shape: &[usize],
        strides: &[usize],
        view: Option<(u64, u64)>,
    ) -> Result<Vec<f32>, String> {
        let tensor = TensorOf { storage: 0, offset, shape: shape.to_vec(), strides: strides.to_vec() };
        let storage = Storage { key: "0", element: ElementType::F32, length: 6, view };
        let mut file = vec![9u8; 3];
        file.extend([0.0f32, 1.0, 2.0, 3.0, 4.0, 5.0].iter().flat_map(|value| value.to_le_bytes()));
        let stored = Stored::of(&tensor, &storage, (3, 24))?;
        Ok(stored.tensor(&file.into())?.to_f32())
    }

    #[test]
    fn elements_are_where_strides_say() {
        assert_eq!(of(0, &[2, 3], &[3, 1], None).unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(of(0, &[3, 2], &[1, 3], None).unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(of(1, &[2, 1, 2], &[3, 7, 1], None).unwrap(), [1.0, 2.0, 4.0, 5.0]);
        assert_eq!(of(2, &[2, 3], &[0, 0], None).unwrap(), [2.0; 6]);
        assert_eq!(of(5, &[], &[], None).unwrap(), [5.0]);
        assert_eq!(of(1, &[2], &[1], Some((3, 3))).unwrap(), [4.0, 5.0]);
        assert!(of(0, &[4, 0], &[1, 1], None).unwrap().is_empty());
    }

    #[test]
    fn what_reaches_past_is_refused() {
        assert_eq!(
            of(0, &[2, 3], &[4, 1], None).unwrap_err(),
            "its sizes [2, 3] with the strides [4, 1] reach past its storage of 6 elements"
        );
        assert!(of(6, &[], &[], None).is_err());
        assert!(of(2, &[2], &[1], Some((3, 3))).is_err());
        assert!(of(0, &[2], &[1], Some((5, 3))).unwrap_err().starts_with("a part of a storage"));
        assert!(of(0, &[usize::MAX, usize::MAX], &[usize::MAX, 1], None).is_err());
        assert!(of(0, &[usize::MAX, usize::MAX], &[0, 0], None).unwrap_err().contains("past any memory"));
        let many = of(0, &[1 << 30, 4], &[0, 0], None).unwrap_err();
        assert!(many.contains("lie apart; at most"), "{many}");
        assert!(of(u64::MAX, &[1], &[1], Some((u64::MAX, 1))).is_err());
    }
}
