//! What a model file may ask of the reader.

/// Limits on a model file, checked before memory is taken for what they bound.
///
/// The defaults let every published network through that fits in a workstation's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Size of the model file in bytes. Default: 2 GiB, where protobuf ends.
    pub file_bytes: u64,
    /// Bytes of external weights that are read. Default: 64 GiB.
    pub external_bytes: u64,
    /// Bytes that decoded messages and unpacked numbers take, about; shared weight bytes do not count.
    /// Default: 4 GiB.
    pub memory_bytes: u64,
    /// Nodes, those of bodies and of expanded functions included. Default: 1,000,000.
    pub nodes: u64,
    /// Constant tensors. Default: 1,000,000.
    pub tensors: u64,
    /// Elements of one tensor. Default: 2³⁶.
    pub tensor_elements: u64,
    /// Bodies within bodies. Default: 16; more than 24 is taken as 24.
    pub nesting: u64,
    /// Functions that call functions. Default: 32.
    pub call_depth: u64,
    /// Sizes of values, and contents of small integer tensors, that are followed through the graph, all together.
    /// Default: 4,000,000.
    pub followed_sizes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 0x7fff_ffff,
            external_bytes: 64 << 30,
            memory_bytes: 4 << 30,
            nodes: 1_000_000,
            tensors: 1_000_000,
            tensor_elements: 1 << 36,
            nesting: 16,
            call_depth: 32,
            followed_sizes: 4_000_000,
        }
    }
}
