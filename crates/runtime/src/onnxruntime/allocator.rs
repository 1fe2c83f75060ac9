//! How the C library hands out memory while the engine loads.
//!
//! Blocks are freed all the while: weights as they are read, and as they were before they were laid out anew. glibc keeps
//! freed blocks of up to 32 MB between others, once it has seen some of that size, where nothing returns them.

/// While it lives, large blocks are mapped one by one and return to the system when they are freed. Nothing on other
/// systems.
#[must_use]
pub(super) struct LargeBlocksMapped(());

#[cfg(all(target_os = "linux", target_env = "gnu"))]
impl LargeBlocksMapped {
    /// Bytes of a large block.
    const LARGE: libc::c_int = 1 << 20;

    /// The most that glibc raises its threshold to by itself: blocks of a run are used again, as without this.
    const LARGEST: libc::c_int = 1 << 25;

    /// From now on.
    pub(super) fn new() -> Self {
        set(libc::M_MMAP_THRESHOLD, Self::LARGE);
        Self(())
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
impl Drop for LargeBlocksMapped {
    fn drop(&mut self) {
        set(libc::M_MMAP_THRESHOLD, Self::LARGEST);
        // As glibc does where it raises the other.
        set(libc::M_TRIM_THRESHOLD, 2 * Self::LARGEST);
    }
}

/// Sets a parameter; one that is refused leaves all as it is.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn set(parameter: libc::c_int, value: libc::c_int) {
    // SAFETY: mallopt takes two numbers, locks what it changes, and refuses what it does not know.
    #[expect(unsafe_code, reason = "the C library's allocator has no other interface")]
    unsafe {
        libc::mallopt(parameter, value);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
impl LargeBlocksMapped {
    /// Nothing.
    pub(super) fn new() -> Self {
        Self(())
    }
}
