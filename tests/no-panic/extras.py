#!/usr/bin/env python3
"""Prints how many bytes each optional feature of the machine adds to the image `machine`, on a Cortex-M4:
what a program saves that does not enable the feature. Fails if the figure in core/src/run/extras.rs differs
by more than TOLERANCE.

    tests/no-panic/extras.py

Each image must also link, which it does only if no panic is reachable. Needs the packages of `no_panic`.
"""
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TARGET = "thumbv7em-none-eabi"
IMAGE = HERE / "target" / TARGET / "release/machine"
SOURCE = HERE / "../../core/src/run/extras.rs"
# Changes elsewhere in the machine move code between the features and the rest.
TOLERANCE = 0.05
EXTRAS = ["kept_blocks", "limits", "message_threads", "room", "server_compaction", "summaries", "unique_ids"]


def size(extra):
    kept = {name: value for name, value in os.environ.items() if name not in ("RUSTUP_TOOLCHAIN", "CARGO", "RUSTFLAGS")}
    environment = kept | {"RUSTC_BOOTSTRAP": "1", "RUSTC": "/usr/bin/rustc", "EXTRA": extra}
    build = ["/usr/bin/cargo", "build", "-q", "--locked", "--release", "--bin", "machine", "--target", TARGET]
    subprocess.run(build, cwd=HERE, env=environment, check=True)
    told = subprocess.run(["llvm-size", IMAGE], check=True, capture_output=True, text=True).stdout
    text, data = told.splitlines()[1].split()[:2]
    return int(text) + int(data)


def documented(extra):
    figure = re.search(rf"/// ([\d,]+) bytes[^\n]*\n    pub\(super\) const fn enable_{extra}\(", SOURCE.read_text())
    return int(figure[1].replace(",", ""))


without = size("")
print(f"{'none':<18} {without}")
stale = []
for extra in EXTRAS:
    added, known = size(extra) - without, documented(extra)
    print(f"{extra:<18} {added:+}  documented: {known}", flush=True)
    if abs(added - known) > TOLERANCE * known:
        stale.append(extra)
if stale:
    sys.exit(f"{SOURCE.resolve()}: wrong figures for {', '.join(stale)}")
