//! Files that PyTorch wrote: every tensor is what PyTorch says, in both of its forms. `goldens/weights_references.py`
//! made them.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::path::{Path, PathBuf};

use pellucid::npy::read_arrays;
use pellucid_weights::{Form, StateDictionary, Wanted, open};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../goldens").join(name)
}

/// Arrays whose names begin with `group`, without it.
fn arrays(group: &str) -> Vec<(String, Vec<usize>, Vec<f64>)> {
    let arrays = read_arrays(&golden("weights.npz")).unwrap();
    let of_group = arrays.into_iter().filter_map(|(name, array)| {
        let name = name.strip_prefix(group)?.to_owned();
        Some((name, array.shape().to_vec(), array.to_f64().iter().copied().collect()))
    });
    of_group.collect()
}

fn same(state: &StateDictionary, name: &str, shape: &[usize], values: &[f64]) {
    let tensor = state.tensor(name).unwrap();
    assert_eq!(tensor.shape(), shape, "{name}");
    assert_eq!(tensor.to_f64(), values, "{name}");
}

#[test]
fn every_tensor_is_as_written() {
    for (file, form) in [
        ("weights.small.zip.pth", Form::TorchArchive),
        ("weights.small.stream.pth", Form::TorchStream),
        ("weights.small.safetensors", Form::Safetensors),
    ] {
        let state = open(&golden(file)).unwrap();
        assert_eq!(state.form(), form);
        let counted = |name: &str| name.ends_with("num_batches_tracked");
        let arrays = arrays("small.");
        let expected = arrays.iter().filter(|(name, ..)| form != Form::Safetensors || !counted(name));
        assert_eq!(state.names().count(), expected.clone().count());
        for (name, shape, values) in expected {
            same(&state, name, shape, values);
        }
    }
}

#[test]
fn shared_strided_and_other_elements_are_read_behind_wrappers() {
    for file in ["weights.forms.zip.pth", "weights.forms.stream.pth"] {
        let state = open(&golden(file)).unwrap();
        assert_eq!(state.within(), ["state_dict"]);
        let arrays = arrays("forms.");
        assert_eq!(arrays.len(), 11);
        for (name, shape, values) in &arrays {
            same(&state, &format!("module.{name}"), shape, values);
        }
        let floats = arrays.iter().filter(|(name, ..)| name != "long");
        let wanted = floats.map(|(name, shape, _)| Wanted { name: name.clone(), shape: shape.clone() });
        let wanted: Vec<Wanted> = wanted.collect();
        let told = state.fit("net", &wanted).unwrap_err().to_string();
        assert!(
            told.ends_with("its tensors are not those of net; 1 that the network does not have: long"),
            "{told}"
        );
        let mut others = wanted;
        others.push(Wanted { name: "long".to_owned(), shape: vec![2] });
        others.push(Wanted { name: "more".to_owned(), shape: vec![2] });
        others[0].shape = vec![7];
        let told = state.fit("net", &others).unwrap_err().to_string();
        let (first, shape) =
            (&others[0].name, &arrays.iter().find(|(name, ..)| *name == others[0].name).unwrap().1);
        let expected = format!(
            "its tensors are not those of net; 1 missing: more; 2 of other sizes or types: {first} is {shape:?}, expected \
             [7], long is of int64, expected floats"
        );
        assert!(told.ends_with(&expected), "{told}");
    }
}

#[test]
fn what_is_left_out_is_said() {
    let state = open(&golden("weights.small.zip.pth")).unwrap();
    let floats = arrays("small.").into_iter().filter(|(name, ..)| !name.ends_with("num_batches_tracked"));
    let wanted: Vec<Wanted> = floats.map(|(name, shape, _)| Wanted { name, shape }).collect();
    let fitted = state.fit("net", &wanted).unwrap();
    assert_eq!(fitted.tensors.len(), wanted.len());
    assert!(fitted.notes.is_empty(), "{:?}", fitted.notes);
}

#[test]
fn no_changed_byte_and_no_prefix_panics() {
    for file in ["weights.forms.zip.pth", "weights.forms.stream.pth", "weights.small.safetensors"] {
        let good = std::fs::read(golden(file)).unwrap();
        let attempt = |bytes: Vec<u8>| {
            if let Ok(state) = pellucid_weights::decode("f", bytes.into()) {
                for name in state.names() {
                    let _ = state.tensor(name);
                }
            }
        };
        for length in (0..good.len()).step_by(7) {
            attempt(good[..length].to_vec());
        }
        for place in 0..good.len().min(4000) {
            for change in [1u8, 0x40, 0xff] {
                let mut changed = good.clone();
                changed[place] ^= change;
                attempt(changed);
            }
        }
    }
}
