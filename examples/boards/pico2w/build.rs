//! Passes the memory map to the linker, and finds the firmware of the Wi-Fi chip.

use std::path::{Path, PathBuf};

/// The files of the chip's firmware. Their licence allows their use with the chip, but they are not
/// a part of this repository.
const FILES: [&str; 3] = ["43439A0.bin", "43439A0_clm.bin", "nvram_rp2040.bin"];

fn main() {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(variable("OUT_DIR"));
    std::fs::copy(here.join("memory.x"), out.join("memory.x")).expect("OUT_DIR can be written to");
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rerun-if-changed=memory.x");

    println!("cargo::rerun-if-env-changed=CYW43_FIRMWARE");
    let folder = std::env::var_os("CYW43_FIRMWARE")
        .map_or_else(|| here.join("cyw43-firmware"), PathBuf::from);
    for file in FILES {
        let path = folder.join(file);
        println!("cargo::rerun-if-changed={}", path.display());
        if !path.is_file() {
            missing(&path);
        }
    }
    println!("cargo::rustc-env=CYW43_FOLDER={}", folder.display());
}

fn variable(name: &str) -> std::ffi::OsString {
    std::env::var_os(name).unwrap_or_else(|| panic!("cargo sets {name} for build scripts"))
}

fn missing(path: &Path) -> ! {
    println!(
        "cargo::error={} is missing: the firmware of the Wi-Fi chip. Download {} from the folder cyw43-firmware of \
         https://github.com/embassy-rs/embassy, read the licence there, and put them into examples/boards/pico2w/cyw43-firmware, \
         or set CYW43_FIRMWARE to their folder.",
        path.display(),
        FILES.join(", ")
    );
    std::process::exit(1)
}
