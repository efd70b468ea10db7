#!/usr/bin/env python3
"""Prints how many bytes each optional feature of the machine adds to the image `machine`, on a Cortex-M4:
what a program saves that does not enable the feature. See core/src/run/extras.rs.

    tests/no-panic/extras.py

Each image must also link, which it does only if no panic is reachable. Needs the packages of `no_panic`.
"""
import os
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
TARGET = "thumbv7em-none-eabi"
IMAGE = HERE / "target" / TARGET / "release/machine"
EXTRAS = ["kept_blocks", "limits", "message_threads", "room", "server_compaction", "summaries", "unique_ids"]


def size(extra):
    kept = {name: value for name, value in os.environ.items() if name not in ("RUSTUP_TOOLCHAIN", "CARGO", "RUSTFLAGS")}
    environment = kept | {"RUSTC_BOOTSTRAP": "1", "RUSTC": "/usr/bin/rustc", "EXTRA": extra}
    build = ["/usr/bin/cargo", "build", "-q", "--locked", "--release", "--bin", "machine", "--target", TARGET]
    subprocess.run(build, cwd=HERE, env=environment, check=True)
    told = subprocess.run(["llvm-size", IMAGE], check=True, capture_output=True, text=True).stdout
    text, data = told.splitlines()[1].split()[:2]
    return int(text) + int(data)


without = size("")
print(f"{'none':<18} {without}")
for extra in EXTRAS:
    print(f"{extra:<18} {size(extra) - without:+}", flush=True)
