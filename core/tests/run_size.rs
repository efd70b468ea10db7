//! A run is small, with and without `alloc`. This needs no other feature, so that both are built.
//! The size of a chip's run, with pointers of 32 bits, is in `examples/firmware/sizes.txt`.
#![cfg(target_pointer_width = "64")]

use toolrunner_core::run::Run;

/// The maximum size of a run, in bytes. Last measured: 1848 without `alloc`.
const MOST: usize = if cfg!(feature = "alloc") { 1696 } else { 1856 };

#[test]
fn a_run_is_small() {
    let size = size_of::<Run<'_>>();
    assert!(size <= MOST, "a run has {size} bytes, and may have {MOST}");
}
