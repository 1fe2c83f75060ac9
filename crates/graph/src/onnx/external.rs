//! Weights in other files: fetched only from regular files inside the model's own folder.
//!
//! A model is untrusted, and a data file's name is part of it. So no name leads out of the folder, directly or
//! through a link, and no more is read than the tensors declare.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use bytes::Bytes;

use super::error::DecodeError;
use super::limits::Limits;
use super::proto;
use super::scan::{check, count};
use super::tensor::header;

/// Ranges closer than this are read as one.
const GAP: u64 = 4096;

/// What one tensor asks for.
struct Request {
    name: String,
    file: String,
    offset: u64,
    length: u64,
}

/// A stretch of a file that was read.
struct Stretch {
    start: u64,
    bytes: Bytes,
}

/// Fetches every external tensor of `model` from `folder`; afterwards all tensors hold their bytes.
pub(super) fn fetch(
    model: &mut proto::Model,
    folder: Option<&Path>,
    limits: &Limits,
) -> Result<(), DecodeError> {
    let mut requests: Vec<Request> = Vec::new();
    visit(model, &mut |tensor| {
        if tensor.data_location == proto::EXTERNAL {
            requests.push(request(tensor, limits)?);
        }
        Ok(())
    })?;
    let Some(first) = requests.first() else {
        return Ok(());
    };
    let Some(folder) = folder else {
        return Err(refused(first, "the model was given as bytes: open it by its path"));
    };
    let stretches = read_all(&requests, folder, limits)?;
    let mut requests = requests.into_iter();
    visit(model, &mut |tensor| {
        if tensor.data_location == proto::EXTERNAL {
            let request = requests.next().expect("the same tensors are visited in the same order");
            tensor.raw_data = Some(slice(&stretches, &request));
            tensor.data_location = 0;
            tensor.external_data.clear();
        }
        Ok(())
    })
}

fn refused(request: &Request, problem: impl Into<String>) -> DecodeError {
    DecodeError::External { name: request.name.clone(), file: request.file.clone(), problem: problem.into() }
}

type Visitor<'a> = dyn FnMut(&mut proto::Tensor) -> Result<(), DecodeError> + 'a;

/// Calls `visitor` with every tensor of the model, always in the same order.
fn visit(model: &mut proto::Model, visitor: &mut Visitor<'_>) -> Result<(), DecodeError> {
    if let Some(graph) = &mut model.graph {
        visit_graph(graph, visitor)?;
    }
    for function in &mut model.functions {
        function.node.iter_mut().try_for_each(|node| visit_node(node, visitor))?;
        function.attribute_proto.iter_mut().try_for_each(|attribute| visit_attribute(attribute, visitor))?;
    }
    Ok(())
}

fn visit_graph(graph: &mut proto::Graph, visitor: &mut Visitor<'_>) -> Result<(), DecodeError> {
    graph.initializer.iter_mut().try_for_each(&mut *visitor)?;
    graph.node.iter_mut().try_for_each(|node| visit_node(node, visitor))
}

fn visit_node(node: &mut proto::Node, visitor: &mut Visitor<'_>) -> Result<(), DecodeError> {
    node.attribute.iter_mut().try_for_each(|attribute| visit_attribute(attribute, visitor))
}

fn visit_attribute(attribute: &mut proto::Attribute, visitor: &mut Visitor<'_>) -> Result<(), DecodeError> {
    if let Some(tensor) = &mut attribute.t {
        visitor(tensor)?;
    }
    attribute.g.as_mut().map_or(Ok(()), |body| visit_graph(body, visitor))
}

/// What `tensor` asks for, checked against its sizes.
fn request(tensor: &proto::Tensor, limits: &Limits) -> Result<Request, DecodeError> {
    let length = count(header(tensor, limits)?.bytes);
    let entry =
        |key: &str| tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| &entry.value);
    let file = entry("location").cloned().unwrap_or_default();
    let mut request = Request { name: tensor.name.clone(), file, offset: 0, length };
    if tensor.raw_data.as_ref().is_some_and(|raw| !raw.is_empty()) {
        return Err(refused(&request, "the model holds the elements too"));
    }
    let number = |key: &str| match entry(key) {
        None => Ok(None),
        Some(text) => match text.parse::<u64>() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(refused(&request, format!("{key} {text:?} is not a count of bytes"))),
        },
    };
    let offset = number("offset")?.unwrap_or(0);
    if let Some(declared) = number("length")?
        && declared != length
    {
        let problem = format!("its sizes need {length} bytes, but its length is given as {declared}");
        return Err(refused(&request, problem));
    }
    request.offset = offset;
    Ok(request)
}

/// Reads what the requests ask for: per file, stretches by rising start.
fn read_all(
    requests: &[Request],
    folder: &Path,
    limits: &Limits,
) -> Result<BTreeMap<String, Vec<Stretch>>, DecodeError> {
    let mut files: BTreeMap<&str, Vec<&Request>> = BTreeMap::new();
    for request in requests {
        files.entry(&request.file).or_default().push(request);
    }
    let mut total = 0u64;
    let mut stretches = BTreeMap::new();
    for (name, mut wanted) in files {
        wanted.sort_by_key(|request| request.offset);
        let first = wanted[0];
        let (mut file, size) = open(folder, name).map_err(|problem| refused(first, problem))?;
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for request in &wanted {
            let end =
                request.offset.checked_add(request.length).filter(|end| *end <= size).ok_or_else(|| {
                    let Request { offset, length, .. } = request;
                    refused(request, format!("{length} bytes at offset {offset} are past its end at {size}"))
                })?;
            match ranges.last_mut() {
                Some((_, last)) if request.offset <= last.saturating_add(GAP) => *last = (*last).max(end),
                _ => ranges.push((request.offset, end)),
            }
        }
        let mut read = Vec::with_capacity(ranges.len());
        for (start, end) in ranges {
            total = total.saturating_add(end - start);
            check("bytes of external weights", total, limits.external_bytes)?;
            let bytes = read_range(&mut file, start, end - start)
                .map_err(|error| refused(first, format!("cannot be read: {error}")))?;
            read.push(Stretch { start, bytes });
        }
        stretches.insert(name.to_owned(), read);
    }
    Ok(stretches)
}

fn read_range(file: &mut File, start: u64, length: u64) -> std::io::Result<Bytes> {
    let size = usize::try_from(length).map_err(std::io::Error::other)?;
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    // Weights past the machine's memory are an error, not an abort.
    bytes.try_reserve_exact(size).map_err(std::io::Error::other)?;
    file.take(length).read_to_end(&mut bytes)?;
    if bytes.len() == size { Ok(Bytes::from(bytes)) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}

/// The bytes of one request.
fn slice(stretches: &BTreeMap<String, Vec<Stretch>>, request: &Request) -> Bytes {
    let read = stretches.get(&request.file).expect("every requested file was read");
    let index = read.partition_point(|stretch| stretch.start <= request.offset);
    let stretch = &read[index.checked_sub(1).expect("the stretch of a request starts at or before it")];
    let fits = |number: u64| usize::try_from(number).expect("the stretch lies in memory");
    let start = fits(request.offset - stretch.start);
    stretch.bytes.slice(start..start + fits(request.length))
}

/// Opens a regular file inside `folder` that no link leads to; returns it with its size.
fn open(folder: &Path, name: &str) -> Result<(File, u64), String> {
    let mut path = folder.to_owned();
    let mut names = 0usize;
    if name.contains(['\\', '\0']) {
        return Err("its name holds a character that no data file's name may have".to_owned());
    }
    for component in Path::new(name).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => {
                if names > 0 {
                    let parent = look(&path)?;
                    if parent.is_symlink() || !parent.is_dir() {
                        return Err("a folder on its path is a link, or no folder".to_owned());
                    }
                }
                path.push(part);
                names += 1;
            }
            Component::ParentDir => return Err("its path leaves the model's folder through ..".to_owned()),
            Component::RootDir | Component::Prefix(_) => {
                return Err("its path is absolute: it must lie in the model's folder".to_owned());
            }
        }
    }
    if names == 0 {
        return Err("the model names no file".to_owned());
    }
    let seen = look(&path)?;
    if seen.is_symlink() {
        return Err("it is a symbolic link: only a file in the model's own folder is read".to_owned());
    }
    if !seen.is_file() {
        return Err("it is no regular file".to_owned());
    }
    let file = File::open(&path).map_err(|error| format!("cannot be opened: {error}"))?;
    let opened = file.metadata().map_err(|error| format!("cannot be opened: {error}"))?;
    confirm(&seen, &opened)?;
    inside(folder, &path)?;
    Ok((file, opened.len()))
}

fn look(path: &Path) -> Result<fs::Metadata, String> {
    fs::symlink_metadata(path).map_err(|error| format!("cannot be opened: {error}"))
}

/// Checks that what was opened is what was looked at, and that it has no other name.
#[cfg(unix)]
fn confirm(seen: &fs::Metadata, opened: &fs::Metadata) -> Result<(), String> {
    use std::os::unix::fs::MetadataExt;
    if (seen.dev(), seen.ino()) != (opened.dev(), opened.ino()) || !opened.is_file() {
        return Err("it changed while it was opened".to_owned());
    }
    if opened.nlink() > 1 {
        return Err("it has a second name outside (a hard link): copy it into the model's folder".to_owned());
    }
    Ok(())
}

/// Without a portable file identity, what is open must be a regular file of the size that was seen.
#[cfg(not(unix))]
fn confirm(seen: &fs::Metadata, opened: &fs::Metadata) -> Result<(), String> {
    if opened.is_file() && seen.len() == opened.len() {
        Ok(())
    } else {
        Err("it changed while it was opened".to_owned())
    }
}

/// Checks once more, on resolved paths, that `path` lies in `folder`.
fn inside(folder: &Path, path: &Path) -> Result<(), String> {
    let resolve = |path: &Path| path.canonicalize().map_err(|error| format!("cannot be opened: {error}"));
    let folder = resolve(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?;
    if resolve(path)?.starts_with(folder) {
        Ok(())
    } else {
        Err("its path leaves the model's folder".to_owned())
    }
}
