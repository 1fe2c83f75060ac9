//! What `torch.save` writes since PyTorch 1.6: a ZIP archive with a pickle, `NAME/data.pkl`, and a file a storage,
//! `NAME/data/KEY`. Its files are stored as they are, so that nothing can unpack to more than the archive has.

use std::collections::HashMap;
use std::io::{Cursor, Read, Seek};

use zip::{CompressionMethod, ZipArchive};

use crate::dictionary::{Found, find};
use crate::pickle;

/// Most files in an archive: one for each storage.
const MOST_FILES: usize = 1 << 17;

/// Where a file of the archive is.
#[derive(Debug, Clone, Copy)]
struct Entry {
    start: usize,
    length: usize,
    checksum: u32,
}

pub(crate) fn read(bytes: &[u8]) -> Result<Found, String> {
    let entries = entries(bytes)?;
    let (root, pickled) = entries
        .iter()
        .find_map(|(name, entry)| Some((name.strip_suffix("data.pkl")?, *entry)))
        .filter(|(root, _)| root.is_empty() || root.ends_with('/'))
        .ok_or("it is a ZIP archive without a data.pkl: not one of torch.save")?;
    if entries.contains_key(&format!("{root}constants.pkl")) {
        return Err("it is a TorchScript program; in PyTorch, save its state dictionary: torch.save(model.state_dict(), \
                    FILE)"
            .to_owned());
    }
    if let Some(order) = entries.get(&format!("{root}byteorder")) {
        let order = content(bytes, *order, "byteorder")?;
        if order.trim_ascii() != b"little" {
            return Err(
                "its numbers have their highest byte first; write it anew on another machine".to_owned()
            );
        }
    }
    let unpickled = content(bytes, pickled, "data.pkl")?;
    let unpickled = pickle::read(unpickled).map_err(|problem| format!("data.pkl, {problem}"))?;
    find(&unpickled, &mut |storage| {
        let name = format!("{root}data/{}", storage.key);
        let entry = entries.get(&name).ok_or_else(|| format!("its storage {:?} is missing", storage.key))?;
        content(bytes, *entry, &format!("storage {:?}", storage.key))?;
        Ok((entry.start, entry.length))
    })
}

/// Every file of the archive, by name.
fn entries(bytes: &[u8]) -> Result<HashMap<String, Entry>, String> {
    // Each file has a header of its own: headers are counted before anything is made of them.
    let count = memchr::memmem::find_iter(bytes, b"PK\x01\x02").take(MOST_FILES + 1).count();
    if count > MOST_FILES {
        return Err(format!("it holds more than {MOST_FILES} files"));
    }
    let broken = |error: &dyn std::fmt::Display| format!("it is no whole ZIP archive: {error}");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| broken(&error))?;
    // Else many names of one place would be read as often.
    if archive.has_overlapping_files().map_err(|error| broken(&error))? {
        return Err("files in it lie over each other: it is damaged, or made to be slow to read".to_owned());
    }
    let mut entries = HashMap::new();
    for index in 0..archive.len() {
        let (name, entry) = entry(&mut archive, index, bytes.len())?;
        if entries.insert(name.clone(), entry).is_some() {
            return Err(format!("it holds {name:?} twice"));
        }
    }
    Ok(entries)
}

fn entry<R: Read + Seek>(
    archive: &mut ZipArchive<R>,
    index: usize,
    most: usize,
) -> Result<(String, Entry), String> {
    let broken = |error: &dyn std::fmt::Display| format!("it is no whole ZIP archive: {error}");
    let file = archive.by_index_raw(index).map_err(|error| broken(&error))?;
    let name = file.name().map_err(|error| broken(&error))?.into_owned();
    let shown: String = name.chars().take(80).collect();
    if file.compression() != CompressionMethod::Stored || file.encrypted() {
        return Err(format!("{shown:?} in it is packed; torch.save stores files as they are"));
    }
    let start = file.data_start().and_then(|start| usize::try_from(start).ok());
    let length = usize::try_from(file.size()).ok().filter(|_| file.size() == file.compressed_size());
    let inside =
        start.zip(length).filter(|(start, length)| start.checked_add(*length).is_some_and(|end| end <= most));
    let (start, length) = inside.ok_or_else(|| format!("{shown:?} reaches past the end of the archive"))?;
    Ok((name, Entry { start, length, checksum: file.crc32() }))
}

/// The bytes of a file of the archive, if its checksum is right.
fn content<'a>(bytes: &'a [u8], entry: Entry, what: &str) -> Result<&'a [u8], String> {
    let content = bytes.get(entry.start..entry.start + entry.length).unwrap_or_default();
    if crc32fast::hash(content) != entry.checksum {
        return Err(format!(
            "the checksum of {what} is wrong: the file is damaged, or was written without checksums \
             (torch.serialization.set_crc32_options)"
        ));
    }
    Ok(content)
}
