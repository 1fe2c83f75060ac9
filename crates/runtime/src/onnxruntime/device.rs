//! What a session of onnxruntime computes on.

use std::fmt;
use std::str::FromStr;

use ort::ep::{CUDA, ExecutionProvider, ExecutionProviderDispatch, TensorRT};

use crate::error::RuntimeError;

/// Where a session computes. Devices other than the processor need an onnxruntime built for them, and have not been
/// tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// A graphics card through CUDA, by its number.
    Cuda(u32),
    /// A graphics card through `TensorRT`, by its number; what `TensorRT` cannot compute, CUDA or the processor does.
    TensorRt(u32),
}

impl FromStr for Device {
    type Err = String;

    /// Reads `cpu`, `cuda`, `cuda:1`, `tensorrt`, `tensorrt:1`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no device, expected cpu, cuda, cuda:N, tensorrt or tensorrt:N");
        let (name, number) = match text.split_once(':') {
            Some((name, number)) => (name, number.parse().map_err(|_| wrong())?),
            None => (text, 0),
        };
        match name {
            "cpu" if !text.contains(':') => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(number)),
            "tensorrt" => Ok(Self::TensorRt(number)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::TensorRt(number) => write!(f, "tensorrt:{number}"),
        }
    }
}

impl Device {
    /// Whether the loaded library has a provider for it.
    pub(super) fn check(self) -> Result<(), RuntimeError> {
        let available = match self {
            Self::Cpu => Ok(true),
            Self::Cuda(_) => CUDA::is_available(),
            Self::TensorRt(_) => TensorRT::is_available(),
        };
        match available {
            Ok(true) => Ok(()),
            Ok(false) => Err(RuntimeError::Device {
                device: self.to_string(),
                problem:
                    "the onnxruntime that was found is built without it; install onnxruntime-gpu, or name a \
                          library that has it in ORT_DYLIB_PATH"
                        .to_owned(),
            }),
            Err(error) => Err(RuntimeError::Device { device: self.to_string(), problem: error.to_string() }),
        }
    }

    /// The providers that a session asks for, the most wanted first; failing to start one is an error.
    pub(super) fn providers(self) -> Vec<ExecutionProviderDispatch> {
        let id = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
        let cuda =
            |number| CUDA::default().with_device_id(id(number)).with_tf32(false).build().error_on_failure();
        match self {
            Self::Cpu => Vec::new(),
            Self::Cuda(number) => vec![cuda(number)],
            Self::TensorRt(number) => {
                let first = TensorRT::default().with_device_id(id(number)).build().error_on_failure();
                vec![first, cuda(number)]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_they_are_written() {
        for (text, device) in [
            ("cpu", Device::Cpu),
            ("cuda", Device::Cuda(0)),
            ("cuda:3", Device::Cuda(3)),
            ("tensorrt:1", Device::TensorRt(1)),
        ] {
            assert_eq!(text.parse(), Ok(device));
            assert_eq!(device.to_string().parse(), Ok(device));
        }
        for text in ["gpu", "cuda:x", "cuda:", "cpu:0", ""] {
            let error = text.parse::<Device>().unwrap_err();
            assert_eq!(
                error,
                format!("{text:?} is no device, expected cpu, cuda, cuda:N, tensorrt or tensorrt:N")
            );
        }
    }
}
