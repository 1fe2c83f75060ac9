//! What `torch.save` wrote before PyTorch 1.6, and writes with `_use_new_zipfile_serialization=False`: pickles one after
//! the other (a magic number, the protocol, the machine, the object, the keys of its storages), then for each key the
//! number of elements and the elements.

use std::collections::HashMap;

use crate::dictionary::{Found, find};
use crate::pickle::{self, Cell, Unpickled, Value};

/// 0x1950a86a20f9469cfc6c, the lowest byte first.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// How far into the file the magic number begins at most.
const MAGIC_WITHIN: usize = 24;
const PROTOCOL: i64 = 1001;

/// Whether a file begins as such files do.
pub(crate) fn is_stream(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x80)
        && bytes.windows(MAGIC.len()).take(MAGIC_WITHIN).any(|window| window == MAGIC)
}

pub(crate) fn read(bytes: &[u8]) -> Result<Found, String> {
    let mut at = 0;
    let magic = next(bytes, &mut at, "magic number")?;
    if magic.root != Value::Long(&MAGIC) {
        return Err("its first pickle is not the magic number".to_owned());
    }
    let protocol = next(bytes, &mut at, "protocol")?;
    if protocol.root != Value::Int(PROTOCOL) {
        return Err(format!("its protocol is unknown, expected {PROTOCOL}"));
    }
    let machine = next(bytes, &mut at, "machine")?;
    match machine.get(machine.root, "little_endian") {
        Some(Value::Bool(true)) => {}
        Some(Value::Bool(false)) => {
            return Err(
                "its numbers have their highest byte first; write it anew on another machine".to_owned()
            );
        }
        _ => return Err("it does not say which byte of its numbers is first".to_owned()),
    }
    let object = next(bytes, &mut at, "object")?;
    let keys = next(bytes, &mut at, "keys of storages")?;
    let keys = keys.items(keys.root).ok_or("the keys of its storages are no list")?;
    let places = places(bytes, at, &object, keys)?;
    find(&object, &mut |storage| {
        let place = places.get(storage.key).copied();
        place.ok_or_else(|| format!("its storage {:?} is missing", storage.key))
    })
}

fn next<'p>(bytes: &'p [u8], at: &mut usize, what: &str) -> Result<Unpickled<'p>, String> {
    let start = *at;
    let read = pickle::read(&bytes[start..]).map_err(|mut problem| {
        problem.at += start;
        format!("pickle of the {what}, {problem}")
    })?;
    *at += read.end;
    Ok(read)
}

/// First byte and number of bytes of each storage.
fn places<'p>(
    bytes: &[u8],
    mut at: usize,
    object: &Unpickled<'p>,
    keys: &[Value<'p>],
) -> Result<HashMap<&'p str, (usize, usize)>, String> {
    // How large an element is stands in the object alone.
    let mut sizes: HashMap<&str, usize> = HashMap::new();
    for cell in &object.cells {
        if let Cell::Storage(storage) = cell {
            let size = storage.element.size();
            if *sizes.entry(storage.key).or_insert(size) != size {
                return Err(format!("storage {:?} has elements of several sizes", storage.key));
            }
        }
    }
    let mut places = HashMap::new();
    for key in keys {
        let Value::Text(key) = key else { return Err("a key of a storage is no text".to_owned()) };
        let size = sizes.get(key).copied();
        let size = size.ok_or_else(|| format!("storage {key:?} belongs to no tensor"))?;
        let rest = bytes.get(at..).unwrap_or_default();
        let count = rest.first_chunk().map(|count| u64::from_le_bytes(*count));
        let cut = || format!("storage {key:?} is missing; the file is cut");
        let count = count.ok_or_else(cut)?;
        let length = usize::try_from(count).ok().and_then(|count| count.checked_mul(size));
        let length = length.filter(|length| *length <= rest.len() - 8);
        let length = length.ok_or_else(|| {
            format!(
                "storage {key:?} has {count} elements, and {} bytes follow; the file is cut",
                rest.len() - 8
            )
        })?;
        if places.insert(*key, (at + 8, length)).is_some() {
            return Err(format!("storage {key:?} is there twice"));
        }
        at += 8 + length;
    }
    Ok(places)
}
