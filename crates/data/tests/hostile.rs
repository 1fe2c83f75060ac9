//! Data made to harm: each file is refused with words that say why, and memory stays bounded, counted.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Write;
use std::sync::Arc;

use flate2::Compression;
use flate2::write::GzEncoder;
use peak_alloc::PeakAlloc;
use pellucid::preprocessing::ImageInput;
use pellucid::{Array, Error, npy, photograph};
use pellucid_data::{Batches, Dataset, Plan, Rows, Source, Targets, idx, open, table};

/// Counts the bytes that are held.
#[global_allocator]
static HELD: PeakAlloc = PeakAlloc;

/// What is said, and the peak over what was held before.
fn refused<T>(work: impl FnOnce() -> Result<T, Error>) -> (String, usize) {
    let before = HELD.current_usage();
    HELD.reset_peak_usage();
    let error = work().err().unwrap();
    let peak = HELD.peak_usage().saturating_sub(before);
    assert!(error.is_user_error(), "{error}");
    (error.to_string(), peak)
}

/// Tests take turns: what is held is counted for the whole program.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

const LITTLE: usize = 1 << 20;

#[test]
fn idx_files_that_promise_or_unpack_to_more_than_they_have() {
    let _turn = TURN.lock();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a-idx3-ubyte.gz");
    let packed = |header: &[u8], zeros: usize| {
        let mut encoder = GzEncoder::new(std::fs::File::create(&path).unwrap(), Compression::fast());
        encoder.write_all(header).unwrap();
        let block = vec![0; 1 << 20];
        for _ in 0..zeros >> 20 {
            encoder.write_all(&block).unwrap();
        }
        encoder.finish().unwrap();
    };
    // 256 MiB of zeros behind a header of one.
    packed(&[0, 0, 8, 1, 0, 0, 0, 1], 256 << 20);
    let (told, peak) = refused(|| idx::read(&path));
    assert!(told.ends_with("more follows than the 1 bytes that its sizes [1] promise"), "{told}");
    assert!(peak < LITTLE, "{peak}");
    // Four GiB promised, and none there.
    packed(&[0, 0, 8, 2, 0, 1, 0, 0, 0, 0, 0xff, 0xff], 0);
    let (told, peak) = refused(|| idx::read(&path));
    assert!(told.contains("promise 4294901760 bytes, and 0 follow; the file is cut"), "{told}");
    assert!(peak < LITTLE, "{peak}");
}

#[test]
fn tables_that_are_no_numbers_or_endless_in_a_line() {
    let _turn = TURN.lock();
    let (told, _) = refused(|| table::decode("t.csv", b"1,2\n3,\xff\xfe\n", None));
    assert!(told.starts_with("t.csv: "), "{told}");
    // Names that would move a terminal's cursor.
    let (told, _) = refused(|| table::decode("t.csv", b"\x1b[2J,\0\n1,2\n", Some("nothing")));
    assert_eq!(told, "there is no column \"nothing\"; there are \\u{1b}[2J, \\0");
    let wide = b"1,".repeat(1 << 21);
    let (told, peak) = refused(|| table::decode("t.csv", &wide, None));
    assert_eq!(told, "t.csv: line 1 has 2097153 columns, expected at most 65536");
    assert!(peak < LITTLE, "{peak}");
    let (told, _) = refused(|| table::decode("t.csv", b"a,b\n\"never closed, 1\n2,3\n", None));
    assert!(told.starts_with("t.csv: "), "{told}");
}

#[test]
fn pictures_of_giant_sizes_and_other_kinds() {
    let _turn = TURN.lock();
    // A PNG whose header says 65,535 × 65,535.
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\xff\xff\0\0\xff\xff\x08\x02\0\0\0".to_vec();
    png.extend(b"\x26\xa0\x9b\x4b");
    let (told, peak) = refused(|| photograph::decode("p.png", &png));
    assert!(told.starts_with("p.png: "), "{told}");
    assert!(peak < 8 * LITTLE, "{peak}");
    let (told, _) = refused(|| photograph::decode("p.png", b"#!/bin/sh\nrm -rf /\n"));
    assert_eq!(told, "p.png: it is no picture that can be read, expected PNG, JPEG or WebP");
}

#[test]
fn pictures_are_enlarged_a_few_batches_at_a_time_and_never_without_bounds() {
    let _turn = TURN.lock();
    // Sixteen thousand pictures of 32 × 1, which take 27 GB at the network's size.
    let rows = 16_384;
    let data = |image: &ImageInput, shape: &[usize]| {
        let bytes = Rows::Bytes(vec![7; rows * 32]);
        let mut data =
            Dataset::new("d", bytes, Targets::Classes(vec![0; rows]), vec![1, 32, 1], String::new())?;
        data.prepare(image, shape).map(|()| data)
    };
    let mut image = ImageInput::default();
    image.set("resize", "374x374").unwrap();
    let row = 3 * 374 * 374 * 4;
    let data = |image: &ImageInput, shape: &[usize]| data(image, shape).map(Arc::new);
    let pictures = data(&image, &[3, 374, 374]).unwrap();
    HELD.reset_peak_usage();
    let before = HELD.current_usage();
    let batches = Batches::start(pictures, Plan::in_order(rows, 4), 0, 2, 3);
    assert!(batches.take(20).all(|batch| batch.unwrap().len == 4));
    let peak = HELD.peak_usage().saturating_sub(before);
    // Three batches ahead and one in use, and what two threads resize.
    assert!(peak < (3 + 1) * 4 * row + 2 * 4 * row, "{peak}");
    // A picture of 32 × 1 whose shorter side grows would be 262,144 tall.
    image.set("resize", "8192").unwrap();
    image.set("crop", "8192x8192").unwrap();
    let (told, peak) = refused(|| data(&image, &[3, 8192, 8192]));
    assert_eq!(told, "d: the picture is too narrow: it would be resized to 8192 × 262144");
    assert!(peak < LITTLE, "{peak}");
    // One whose other side is not said becomes too large without a crop, and is not made to see it.
    image.crop = None;
    image.set("resize", "200").unwrap();
    let (told, peak) = refused(|| data(&image, &[3, 8, 8]));
    assert!(told.contains("a picture of 32 × 1 becomes 6400 × 200"), "{told}");
    assert!(peak < LITTLE, "{peak}");
    let (told, peak) = refused(|| data(&image, &[3, usize::MAX, 8192]));
    assert!(told.contains("expected three sizes of 1 to 8192"), "{told}");
    assert!(peak < LITTLE, "{peak}");
    let floats = Rows::Floats(vec![0.0; 12]);
    let mut floats =
        Dataset::new("d", floats, Targets::Classes(vec![0]), vec![3, 2, 2], String::new()).unwrap();
    let (told, _) = refused(|| floats.prepare(&ImageInput::default(), &[3, 2, 2]));
    assert!(told.contains("its rows are numbers, which are taken as they are"), "{told}");
}

#[test]
fn archives_of_objects() {
    let _turn = TURN.lock();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.npz");
    let header =
        b"\x93NUMPY\x01\x00\x46\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }              \n";
    let mut writer = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    writer.start_file("x.npy", zip::write::SimpleFileOptions::default()).unwrap();
    writer.write_all(header).unwrap();
    writer.write_all(b"cposix\nsystem\n(S'touch mark'\ntR.").unwrap();
    writer.finish().unwrap();
    let (told, _) = refused(|| npy::read_arrays(&path));
    assert!(told.contains("object"), "{told}");
}

/// Bytes stay bytes: an archive of pictures is read within some times its size, not with eight bytes a byte.
#[test]
fn pictures_of_an_archive_take_little_more_than_their_size() {
    let _turn = TURN.lock();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pictures.npz");
    let (rows, side) = (2048, 64);
    let mut header =
        format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({rows}, {side}, {side}, 1), }}");
    header.push_str(&" ".repeat(117 - header.len()));
    header.push('\n');
    let pictures: Vec<u8> = (0..rows * side * side).map(|at| u8::try_from(at * 31 % 251).unwrap()).collect();
    let options = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut writer = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    writer.start_file("x.npy", options).unwrap();
    writer.write_all(b"\x93NUMPY\x01\x00\x76\x00").unwrap();
    writer.write_all(header.as_bytes()).unwrap();
    writer.write_all(&pictures).unwrap();
    writer.start_file("y.npy", options).unwrap();
    let classes = Array::I64(ndarray::ArrayD::zeros(ndarray::IxDyn(&[rows])));
    writer.write_all(&npy::encode(&classes)).unwrap();
    writer.finish().unwrap();
    let before = HELD.current_usage();
    HELD.reset_peak_usage();
    let data = open(&Source { data: path, ..Source::default() }).unwrap().train;
    let peak = HELD.peak_usage().saturating_sub(before);
    assert_eq!(data.shape, [1, side, side]);
    let Rows::Bytes(found) = &data.rows else { panic!("{:?}", data.shape) };
    assert!(*found == pictures);
    // The file, its array while that grows, and the pictures with channels first; eight bytes a byte would be 11 times.
    assert!(peak < 7 * pictures.len(), "{peak}");
}
