//! safetensors: a header of names, types, sizes and places as JSON, then the numbers.

use pellucid_graph::ElementType;
use safetensors::{Dtype, SafeTensors};

use crate::dictionary::Found;
use crate::stored::Stored;

/// Largest header. One tensor takes about a hundred bytes of it, and some hundreds once it was read.
const MOST_HEADER: u64 = 16 << 20;

/// Whether a file begins as such files do: a length, and a JSON object.
pub(crate) fn is_safetensors(bytes: &[u8]) -> bool {
    header(bytes).is_some_and(|length| length <= 1 << 40) && bytes.get(8) == Some(&b'{')
}

fn header(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|length| u64::from_le_bytes(*length))
}

pub(crate) fn read(bytes: &[u8]) -> Result<Found, String> {
    let length = header(bytes).unwrap_or(u64::MAX);
    if length > MOST_HEADER {
        return Err(format!("its header has {length} bytes, expected at most {MOST_HEADER}"));
    }
    let (length, metadata) = SafeTensors::read_metadata(bytes)
        .map_err(|error| format!("it is no whole safetensors file: {error}"))?;
    let start = length + 8;
    let mut found = Found::default();
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else { continue };
        let element = element(info.dtype).ok_or_else(|| {
            format!("{name:?} holds elements of type {:?}, which cannot be read", info.dtype)
        })?;
        let (first, last) = info.data_offsets;
        let stored = start.checked_add(last).filter(|end| *end <= bytes.len()).and(start.checked_add(first));
        let stored = stored
            .ok_or_else(|| "it reaches past the end of the file".to_owned())
            .and_then(|first| Stored::whole(element, info.shape.clone(), first, start + last))
            .map_err(|problem| format!("{name:?}: {problem}"))?;
        found.tensors.insert(name, stored);
    }
    if found.tensors.is_empty() {
        return Err("there is no tensor in it".to_owned());
    }
    Ok(found)
}

fn element(kind: Dtype) -> Option<ElementType> {
    Some(match kind {
        Dtype::F16 => ElementType::F16,
        Dtype::BF16 => ElementType::BF16,
        Dtype::F32 => ElementType::F32,
        Dtype::F64 => ElementType::F64,
        Dtype::I8 => ElementType::I8,
        Dtype::I16 => ElementType::I16,
        Dtype::I32 => ElementType::I32,
        Dtype::I64 => ElementType::I64,
        Dtype::U8 => ElementType::U8,
        Dtype::U16 => ElementType::U16,
        Dtype::U32 => ElementType::U32,
        Dtype::U64 => ElementType::U64,
        Dtype::BOOL => ElementType::Bool,
        _ => return None,
    })
}
