//! Files made to harm: each is refused with words that say why, nothing in them runs, and memory stays bounded.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::{Cursor, Write};

use pellucid_weights::decode;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

const MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.";

/// A pickle of `{"w": tensor}` whose storage "0" has `length` floats, and sizes and strides as given, of one byte each.
fn dictionary(length: u32, offset: u8, sizes: &[u8], strides: &[u8]) -> Vec<u8> {
    let mut pickle =
        b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storage".to_vec();
    pickle.extend(b"ctorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuJ");
    pickle.extend(length.to_le_bytes());
    pickle.extend(b"tQK");
    pickle.push(offset);
    for list in [sizes, strides] {
        pickle.push(b'(');
        for size in list {
            pickle.extend([b'K', *size]);
        }
        pickle.push(b't');
    }
    pickle.extend(b"\x89ccollections\nOrderedDict\n)RtRs.");
    pickle
}

fn archive(files: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn stored(files: &[(&str, &[u8])]) -> Vec<u8> {
    archive(files, CompressionMethod::Stored)
}

fn stream(pickle: &[u8], rest: &[u8]) -> Vec<u8> {
    [MAGIC, pickle, b"\x80\x02]X\x01\x00\x00\x000a.", rest].concat()
}

/// A stream without storages.
fn alone(pickle: &[u8]) -> Vec<u8> {
    [MAGIC, pickle, b"\x80\x02]."].concat()
}

fn told(bytes: Vec<u8>) -> String {
    let error = decode("f.pth", bytes.into()).unwrap_err();
    assert!(error.is_user_error());
    error.to_string()
}

#[test]
fn the_files_made_here_are_whole_without_the_harm() {
    let floats: Vec<u8> = [1.0f32, 2.0].iter().flat_map(|value| value.to_le_bytes()).collect();
    let pickle = dictionary(2, 0, &[2], &[1]);
    let counted = [2u64.to_le_bytes().as_slice(), &floats].concat();
    for bytes in [stored(&[("a/data.pkl", &pickle), ("a/data/0", &floats)]), stream(&pickle, &counted)] {
        let state = decode("f.pth", bytes.into()).unwrap();
        assert_eq!(state.tensor("w").unwrap().to_f32(), [1.0, 2.0]);
    }
}

#[test]
fn imports_are_named_and_never_run() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let command = format!("touch {}", mark.display());
    let mut pickle = b"\x80\x02cposix\nsystem\nX".to_vec();
    pickle.extend(u32::try_from(command.len()).unwrap().to_le_bytes());
    pickle.extend(command.as_bytes());
    pickle.extend(b"\x85R.");
    for bytes in [stored(&[("a/data.pkl", &pickle)]), stream(&pickle, &[])] {
        let told = told(bytes);
        assert!(
            told.contains("it would import \"posix.system\", which no tensor needs, and is not read"),
            "{told}"
        );
    }
    assert!(!mark.exists());
}

#[test]
fn huge_lengths_are_refused_before_memory_is_taken() {
    let told_of = |pickle: Vec<u8>| told(stored(&[("a/data.pkl", &pickle), ("a/data/0", &[0; 8])]));
    assert_eq!(
        told_of(dictionary(0x7fff_ffff, 0, &[2], &[1])),
        "f.pth: \"w\": its storage should have 2147483647 elements of float32, and has 8 bytes"
    );
    assert_eq!(
        told_of(dictionary(2, 0, &[200, 200, 200], &[1, 1, 1])),
        "f.pth: \"w\": its sizes [200, 200, 200] with the strides [1, 1, 1] reach past its storage of 2 elements"
    );
    assert!(told_of(dictionary(2, 9, &[1], &[1])).contains("reach past its storage"));
    let pickle = dictionary(2, 0, &[2], &[1]);
    assert_eq!(
        told(stream(&pickle, &u64::MAX.to_le_bytes())),
        "f.pth: storage \"0\" has 18446744073709551615 elements, and 0 bytes follow; the file is cut"
    );
    assert_eq!(told(stream(&pickle, &[1])), "f.pth: storage \"0\" is missing; the file is cut");
    assert_eq!(told(stored(&[("a/data.pkl", &pickle)])), "f.pth: \"w\": its storage \"0\" is missing");
}

#[test]
fn one_element_made_many_is_no_bomb() {
    // 255⁴ elements by strides of 0: known without taking memory.
    let pickle = dictionary(2, 0, &[255; 4], &[0; 4]);
    let bytes = stored(&[("a/data.pkl", &pickle), ("a/data/0", &[0; 8])]);
    let state = decode("f.pth", bytes.into()).unwrap();
    let told = state.tensor("w").unwrap_err().to_string();
    assert_eq!(told, "f.pth: \"w\": its 16913002500 bytes lie apart; at most 4294967296 are put together");
}

#[test]
fn packed_archives_are_refused_so_that_nothing_unpacks() {
    let zeros = vec![0; 1 << 20];
    let bomb = archive(&[("a/data.pkl", &zeros)], CompressionMethod::Deflated);
    assert!(bomb.len() < 4096);
    assert_eq!(told(bomb), "f.pth: \"a/data.pkl\" in it is packed; torch.save stores files as they are");
}

/// A file that lies where another does would be read as often as it is named.
#[test]
fn files_over_each_other_are_refused() {
    let pickle = dictionary(2, 0, &[2], &[1]);
    let mut bytes = stored(&[("a/data.pkl", &pickle), ("a/data/0", &[7; 8]), ("a/data/1", &[7; 8])]);
    let headers: Vec<usize> = memchr::memmem::find_iter(&bytes, b"PK\x01\x02").collect();
    // Where a file begins stands 42 bytes behind the start of its header.
    let [first, second] = [headers[1], headers[2]].map(|header| header + 42..header + 46);
    bytes.copy_within(first, second.start);
    let said = told(bytes);
    assert!(said.contains("lie over each other"), "{said}");
}

#[test]
fn archives_of_other_kinds_are_told() {
    let pickle = dictionary(2, 0, &[2], &[1]);
    assert_eq!(
        told(stored(&[("a/other", b"x")])),
        "f.pth: it is a ZIP archive without a data.pkl: not one of torch.save"
    );
    assert!(told(stored(&[("a/data.pkl", &pickle), ("a/constants.pkl", b"x")])).contains("TorchScript"));
    let big = told(stored(&[("a/data.pkl", &pickle), ("a/byteorder", b"big")]));
    assert!(big.contains("highest byte first"), "{big}");
    let mut damaged = stored(&[("a/data.pkl", &pickle), ("a/data/0", &[7; 8])]);
    let at = damaged.windows(8).position(|window| window == [7; 8]).unwrap();
    damaged[at] ^= 1;
    assert!(told(damaged).contains("the checksum of storage \"0\" is wrong: the file is damaged"));
    assert_eq!(told(b"PK\x03\x04rest".to_vec()).split(": ").nth(1).unwrap(), "it is no whole ZIP archive");
    assert!(told(b"\x80\x02N.".to_vec()).contains("a pickle without tensors"));
    assert!(told(vec![]).contains("it is empty"));
    assert!(told(b"hello, I am text".to_vec()).contains("of no kind that can be read"));
}

#[test]
fn dictionaries_that_hold_themselves_and_whole_models_end() {
    // d = {}; d["state_dict"] = d
    let looped = told(alone(b"\x80\x02}q\x00X\x0a\x00\x00\x00state_dicth\x00s."));
    assert!(looped.contains("there is no tensor in it: it holds \"state_dict\""), "{looped}");
    let module = told(alone(b"\x80\x02(X\x06\x00\x00\x00moduleNNNtQ."));
    assert!(module.contains("it holds a whole model, which is a program"), "{module}");
    let deep = [vec![b']'; 500_000], vec![b'.']].concat();
    assert!(told(alone(&deep)).contains("it holds no dictionary"));
    // One list of 100,000 pairs, made a dictionary again and again.
    let mut copies = b"\x80\x02(".to_vec();
    copies.extend(b"NN\x86".repeat(100_000));
    copies.extend(b"lq\x00ccollections\nOrderedDict\nq\x01");
    copies.extend(b"h\x01h\x00\x85R".repeat(1000));
    copies.push(b'.');
    assert!(told(alone(&copies)).contains("it copies more than it may"));
}

#[test]
fn safetensors_are_held_to_their_bytes() {
    let file = |header: &str, data: &[u8]| {
        [u64::try_from(header.len()).unwrap().to_le_bytes().as_slice(), header.as_bytes(), data].concat()
    };
    let tensor = |shape: &str, end: u64| {
        format!("{{\"w\":{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[0,{end}]}}}}")
    };
    let state = decode("f", file(&tensor("[2]", 8), &[0; 8]).into()).unwrap();
    assert_eq!(state.tensor("w").unwrap().to_f32(), [0.0, 0.0]);
    for bytes in [
        file(&tensor("[2]", 8), &[0; 7]),
        file(&tensor("[3]", 8), &[0; 8]),
        file(&tensor("[18446744073709551615, 2]", 8), &[0; 8]),
        file(&tensor("[2]", u64::MAX), &[0; 8]),
        file("{\"w\": ", &[]),
        file("{}", &[]),
    ] {
        let told = told(bytes);
        assert!(told.contains("safetensors") || told.contains("no tensor"), "{told}");
    }
    let huge = told([(1u64 << 39).to_le_bytes().as_slice(), b"{"].concat());
    assert_eq!(huge, "f.pth: its header has 549755813888 bytes, expected at most 16777216");
}
