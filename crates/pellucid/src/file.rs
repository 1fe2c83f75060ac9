//! Reading whole files that nobody vouches for: regular files only, and never more than a limit.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::Error;

/// The bytes of a regular file of at most `limit` bytes.
///
/// # Errors
/// Files that cannot be read, folders, devices and pipes, and files over the limit.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let file = open(path)?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|source| Error::Read { path: path.to_owned(), source })?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > limit) {
        let place = path.display().to_string();
        return Err(Error::input(place, format!("it is larger than the limit of {}", size(limit))));
    }
    Ok(bytes)
}

/// Opens a regular file.
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    // Asked before opening: opening a pipe would wait for a writer.
    let metadata = std::fs::metadata(path).map_err(failed)?;
    let place = || path.display().to_string();
    if metadata.is_dir() {
        return Err(Error::input(place(), "it is a folder, expected a file"));
    }
    if !metadata.is_file() {
        return Err(Error::input(place(), "it is a device or a pipe, expected a file"));
    }
    File::open(path).map_err(failed)
}

/// A number of bytes as people write it.
pub(crate) fn size(bytes: u64) -> String {
    let units = [(1u64 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) if bytes.is_multiple_of(unit) => format!("{} {name}", bytes / unit),
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} bytes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_devices_missing_and_large_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, [1, 2, 3]).unwrap();
        assert_eq!(read(&path, 3).unwrap(), [1, 2, 3]);
        let told =
            |path: &Path| read(path, 2).unwrap_err().to_string().replace(&path.display().to_string(), "P");
        assert_eq!(told(&path), "P: it is larger than the limit of 2 bytes");
        assert_eq!(told(folder.path()), "P: it is a folder, expected a file");
        assert_eq!(told(&folder.path().join("b")), "P: cannot be read: there is no such file");
        #[cfg(unix)]
        assert_eq!(told(Path::new("/dev/zero")), "P: it is a device or a pipe, expected a file");
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(size(1 << 30), "1 GiB");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(12), "12 bytes");
    }
}
