//! Headers and archives, whole and damaged, as NumPy writes them and as it would not.

use ndarray::{IxDyn, array};

use super::*;

fn with_header(dictionary: &str, contents: &[u8]) -> Bytes {
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend(u16::try_from(dictionary.len()).unwrap().to_le_bytes());
    bytes.extend(dictionary.as_bytes());
    bytes.extend(contents);
    Bytes::from(bytes)
}

fn told(dictionary: &str, contents: &[u8]) -> String {
    decode("a.npy", &with_header(dictionary, contents)).unwrap_err().to_string()
}

#[test]
fn what_is_written_is_read_again() {
    for array in [
        Array::F32(array![[1.0f32, -2.5], [f32::MAX, 0.0]].into_dyn()),
        Array::F64(ArrayD::from_elem(IxDyn(&[]), 0.1)),
        Array::I64(array![i64::MIN, 7].into_dyn()),
        Array::Bool(array![[true], [false]].into_dyn()),
        Array::F32(ArrayD::zeros(IxDyn(&[3, 0, 2]))),
    ] {
        let bytes = encode(&array);
        assert!(bytes.len() >= 128 || array.shape().iter().product::<usize>() == 0);
        assert_eq!(decode("a", &Bytes::from(bytes)).unwrap().array, array);
        let packed = encode_npz(&[("x".into(), array.clone()), ("y".into(), array.clone())]).unwrap();
        let arrays = decode_npz("a", &packed, 1 << 20).unwrap();
        assert_eq!(arrays.len(), 2);
        assert_eq!((arrays[1].0.as_str(), &arrays[1].1.array), ("y", &array));
    }
}

#[test]
fn fortran_order_and_big_endian_numbers_are_turned() {
    let contents: Vec<u8> = [1i16, 2, 3, 4, 5, 6].iter().flat_map(|value| value.to_be_bytes()).collect();
    let bytes = with_header("{'descr': '>i2', 'fortran_order': True, 'shape': (2, 3), }", &contents);
    let npy = decode("a", &bytes).unwrap();
    assert_eq!(npy.element, ElementType::I16);
    assert_eq!(npy.array, Array::I64(array![[1, 3, 5], [2, 4, 6]].into_dyn()));
}

#[test]
fn headers_that_lie_and_objects_are_refused() {
    let header = |descr: &str, shape: &str| {
        format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}")
    };
    for (dictionary, message) in [
        (
            header("'<f4'", "(2, 3)"),
            "its header promises [2, 3] of float32 (24 bytes), and 8 bytes follow; the file is cut or damaged",
        ),
        (
            header("'<f4'", "(4611686018427387904, 16)"),
            "the shape [4611686018427387904, 16] in its header is larger than any memory",
        ),
        (
            header("'<f8'", "(1000000000000,)"),
            "its header promises [1000000000000] of float64 (8000000000000 bytes), and 8 bytes follow; the file \
             is cut or damaged",
        ),
        (
            header("'|O'", "(1,)"),
            "it holds Python objects, expected numbers; save it with .astype(np.float32)",
        ),
        (header("'<U5'", "(1,)"), "its elements are of type \"U5\", expected numbers or truth values"),
        (
            header("[('a', '<f4')]", "(1,)"),
            "its elements are records, expected numbers; save one array a file",
        ),
        (header("'<f4'", "(-1,)"), "its header cannot be read near \"-1,), }\""),
        (header("'<f4'", "(99999999999999999999,)"), "its header cannot be read near \"999999999999\""),
        ("{'descr': '<f4', 'shape': (2,)}".to_owned(), "its header lacks \"fortran_order\""),
        ("__import__('os')".to_owned(), "its header cannot be read near \"__import__('\""),
        ("{'a': 1}".to_owned(), "its header has an entry \"a\" that NumPy does not write"),
    ] {
        assert_eq!(told(&dictionary, &[0; 8]), format!("a.npy: {message}"), "{dictionary}");
    }
}

#[test]
fn files_cut_anywhere_are_refused_without_a_panic() {
    let whole = encode(&Array::F32(array![1.0f32, 2.0].into_dyn()));
    for length in 0..whole.len() {
        assert!(decode("a", &Bytes::copy_from_slice(&whole[..length])).is_err(), "{length}");
    }
    let packed = encode_npz(&[("x".into(), Array::I64(array![1].into_dyn()))]).unwrap();
    for length in 0..packed.len() {
        assert!(decode_npz("a", &packed[..length], 1 << 20).is_err(), "{length}");
    }
    let long = [MAGIC, &[2, 0, 255, 255, 255, 255]].concat();
    assert_eq!(
        decode("a", &Bytes::from(long)).unwrap_err().to_string(),
        "a: its header has 4294967295 bytes, expected at most 65536"
    );
}

#[test]
fn changed_bytes_are_read_or_refused_without_a_panic() {
    let whole = encode(&Array::F32(ArrayD::zeros(IxDyn(&[2, 3]))));
    let packed = encode_npz(&[("x".into(), Array::I64(array![1, 2].into_dyn()))]).unwrap();
    for (file, length) in [(&whole, whole.len()), (&packed, packed.len())] {
        for at in 0..length {
            for value in [0, b'9', b'(', 0x7f, 0xff] {
                let mut changed = file.clone();
                changed[at] = value;
                // Whatever comes of it, nothing larger than what is there.
                if let Ok(npy) = decode("a", &Bytes::from(changed.clone())) {
                    assert!(npy.array.len() <= whole.len());
                }
                for (_, npy) in decode_npz("a", &changed, 1 << 16).unwrap_or_default() {
                    assert!(npy.array.len() <= 1 << 16);
                }
            }
        }
    }
}

#[test]
fn a_bomb_is_stopped_at_the_limit() {
    let packed = encode_npz(&[("x".into(), Array::F32(ArrayD::zeros(IxDyn(&[1 << 20]))))]).unwrap();
    assert!(packed.len() < 1 << 16);
    assert_eq!(
        decode_npz("bomb.npz", &packed, 1 << 20).unwrap_err().to_string(),
        "bomb.npz: unpacked it is larger than the limit of 1 MiB"
    );
}
