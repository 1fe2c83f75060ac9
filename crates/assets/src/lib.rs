//! A trained network and photographs, embedded in the program.
//!
//! The network is a whole ONNX file that carries its preprocessing and its labels in
//! `metadata_props`. This crate holds bytes only: it neither parses the model nor
//! decodes an image. Origins, licences and what the metadata mean stand in the
//! crate's `README.md`; `convert.py` beside it made every file.

/// EfficientNet-Lite0 with ImageNet weights, an ONNX file (Apache-2.0).
///
/// Input `image`, float32 `[batch, 3, 224, 224]`; output `logits`, float32
/// `[batch, 1000]`. Its `metadata_props` hold `pellucid.preprocessing`,
/// `pellucid.labels` and `pellucid.outputs`. Kernels are float16, each with a
/// `Cast` to float32.
pub const EFFICIENTNET_LITE0: &[u8] = include_bytes!("../efficientnet-lite0.onnx");

/// A photograph as an encoded file, with where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Photograph {
    /// File name with its ending, such as `chelsea.png`.
    pub name: &'static str,
    /// The file: PNG or JPEG, by the ending of `name`.
    pub bytes: &'static [u8],
    /// Under which terms it may be passed on.
    pub licence: &'static str,
    /// Who took it, and which package it was taken from.
    pub origin: &'static str,
}

/// Chelsea the cat, 451 × 300, RGB: the photograph of `pellucid demo`.
pub const CHELSEA: Photograph = Photograph {
    name: "chelsea.png",
    bytes: include_bytes!("../photographs/chelsea.png"),
    licence: "CC0",
    origin: "Stéfan van der Walt, by way of scikit-image 0.26.0",
};

/// A cup of coffee, 600 × 400, RGB.
pub const COFFEE: Photograph = Photograph {
    name: "coffee.png",
    bytes: include_bytes!("../photographs/coffee.png"),
    licence: "CC0",
    origin: "Rachel Michetti, courtesy of Pikolo Espresso Bar, by way of scikit-image 0.26.0",
};

/// A man with a camera on a tripod, 512 × 512, one grey channel.
pub const CAMERA: Photograph = Photograph {
    name: "camera.png",
    bytes: include_bytes!("../photographs/camera.png"),
    licence: "CC0",
    origin: "Lav Varshney, by way of scikit-image 0.26.0",
};

/// The launch of a Falcon 9 rocket, 640 × 427, RGB.
pub const ROCKET: Photograph = Photograph {
    name: "rocket.jpg",
    bytes: include_bytes!("../photographs/rocket.jpg"),
    licence: "public domain",
    origin: "SpaceX, by way of scikit-image 0.26.0",
};

/// All photographs.
pub const PHOTOGRAPHS: &[Photograph] = &[CHELSEA, COFFEE, CAMERA, ROCKET];

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};
    use std::fmt::Write;

    fn sha256(bytes: &[u8]) -> String {
        let mut text = String::new();
        for byte in Sha256::digest(bytes) {
            write!(text, "{byte:02x}").unwrap();
        }
        text
    }

    #[test]
    fn every_file_has_its_recorded_checksum() {
        let mut found = format!("{}  efficientnet-lite0.onnx\n", sha256(EFFICIENTNET_LITE0));
        for photograph in PHOTOGRAPHS {
            writeln!(found, "{}  photographs/{}", sha256(photograph.bytes), photograph.name).unwrap();
        }
        assert_eq!(found, include_str!("../SHA256SUMS"));
    }

    #[test]
    fn checksums_notice_a_changed_byte() {
        let mut bytes = CHELSEA.bytes.to_vec();
        bytes[1000] ^= 1;
        assert_ne!(sha256(&bytes), sha256(CHELSEA.bytes));
    }

    /// The registry takes crates up to 10 MiB, packed. Photographs do not pack; the
    /// float16 kernels pack by 7 %, which this bound leaves out of account.
    #[test]
    fn the_files_stay_small_enough_to_publish() {
        let photographs: usize = PHOTOGRAPHS.iter().map(|p| p.bytes.len()).sum();
        let total = EFFICIENTNET_LITE0.len() + photographs;
        assert!(total < 10 * 1024 * 1024, "{total} bytes");
    }
}
