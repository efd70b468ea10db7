//! Writes the board's memory map for the linker.
//!
//! The stack lies below the statics, so one that is too deep runs out of the memory's start and
//! faults, instead of into the statics.

use std::path::PathBuf;

fn main() {
    let has = |feature: &str| std::env::var_os(format!("CARGO_FEATURE_{feature}")).is_some();
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("OUT_DIR is set for build scripts"));
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rerun-if-changed=build.rs");
    if has("VIRT") {
        // QEMU loads the image into memory.
        let text = "MEMORY {\n  FLASH : ORIGIN = 0x80000000, LENGTH = 4M\n  STACK : ORIGIN = 0x80400000, LENGTH = 64K\n  \
                    RAM : ORIGIN = 0x80410000, LENGTH = 4M\n}\n_stack_end = ORIGIN(STACK);\n\
                    REGION_ALIAS(\"REGION_TEXT\", FLASH);\nREGION_ALIAS(\"REGION_RODATA\", FLASH);\nREGION_ALIAS(\"REGION_DATA\", RAM);\n\
                    REGION_ALIAS(\"REGION_BSS\", RAM);\nREGION_ALIAS(\"REGION_HEAP\", RAM);\nREGION_ALIAS(\"REGION_STACK\", STACK);\n";
        std::fs::write(out.join("memory.x"), text).expect("OUT_DIR can be written to");
        return;
    }
    // Flash and memory in KiB, and where the memory starts.
    let (flash, memory, start) = match (has("LM3S6965EVB"), has("MPS2_AN386"), has("MPS2_AN500")) {
        (true, false, false) => (256, 64, 0x2000_0000_u32),
        (false, true, false) | (false, false, true) => (4096, 4096, 0x2000_0000),
        _ => panic!("choose one board by its feature: lm3s6965evb, mps2-an386, mps2-an500 or virt"),
    };
    // The deepest stacks measured are 4 KiB less, and without TLS but with reqwless 1.6 KiB.
    let stack = match (has("TLS"), has("REQWLESS")) {
        (true, true) => 28 * 1024,
        (true, false) => 24 * 1024,
        (false, _) => 8 * 1024,
    };
    let text = format!(
        "MEMORY {{\n  FLASH : ORIGIN = 0, LENGTH = {flash}K\n  RAM : ORIGIN = {:#x}, LENGTH = {}\n}}\n\
         _stack_start = ORIGIN(RAM);\n_stack_end = ORIGIN(RAM) - {stack};\n",
        start + stack,
        memory * 1024 - stack,
    );
    std::fs::write(out.join("memory.x"), text).expect("OUT_DIR can be written to");
    if has("DEFMT") {
        println!("cargo::rustc-link-arg-bins=-Tdefmt.x");
    }
}
