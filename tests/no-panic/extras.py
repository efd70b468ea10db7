#!/usr/bin/env python3
"""Prints how many bytes each optional feature adds to an image, on a Cortex-M4: what a program saves that
does not enable the feature. The image is `machine` for the features of a run, and `tools` for those of
drivers, tools and schemas. Fails if the figure of a function `enable_…` in core/src/*/extras.rs, or of a
method of a run that enables the feature, differs by more than TOLERANCE, or if a figure is not measured.

    tests/no-panic/extras.py

`machine` must also link, which it does only if no panic is reachable. Needs the packages of `no_panic`.
"""
import os
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
TARGET = "thumbv7em-none-eabi"
CORE = HERE / "../../core/src"
# Changes elsewhere in the image move code between the features and the rest.
TOLERANCE = 0.05
# Each image, and the features that are measured in it.
EXTRAS = {
    "machine": ["kept_blocks", "limits", "message_threads", "room", "server_compaction", "summaries", "unique_ids"],
    "tools": ["run_settings", "thread_settings", "error_blocks", "definition_check", "names", "number_bounds",
              "text_bounds", "arrays", "tuples", "maps", "tagged_variants", "keyed_variants", "untagged_variants"],
}
# Methods of a run that enable a feature, with its figure in their documentation.
METHODS = {"limits": "limits_mut", "room": "when_full_mut", "summaries": "compaction_mut"}


def size(image, extra):
    kept = {name: value for name, value in os.environ.items() if name not in ("RUSTUP_TOOLCHAIN", "CARGO", "RUSTFLAGS")}
    environment = kept | {"RUSTC_BOOTSTRAP": "1", "RUSTC": "/usr/bin/rustc", "EXTRA": extra}
    build = ["/usr/bin/cargo", "build", "-q", "--locked", "--release", "--bin", image, "--target", TARGET]
    subprocess.run(build, cwd=HERE, env=environment, check=True)
    file = HERE / "target" / TARGET / "release" / image
    told = subprocess.run(["llvm-size", file], check=True, capture_output=True, text=True).stdout
    text, data = told.splitlines()[1].split()[:2]
    return int(text) + int(data)


def functions():
    """Returns the figure of each function `enable_…`, by feature; none for one that states none."""
    found = {}
    for file in CORE.glob("*/extras.rs"):
        for doc, extra in re.findall(r"((?: *///[^\n]*\n)+)(?: *#\[[^\n]*\n)* *pub\(super\) const fn enable_(\w+)", file.read_text()):
            # It says why it is not measured here.
            if "extras.py" in doc:
                continue
            figure = re.match(r" */// ([\d,]+) bytes", doc)
            found[extra] = figure and int(figure[1].replace(",", ""))
    return found


def of_method(name):
    source = (CORE / "run/settings.rs").read_text()
    doc = source[:source.index(f"fn {name}(")]
    return int(re.findall(r"([\d,]+) bytes", doc)[-1].replace(",", ""))


documented = functions()
stale = []
for image, extras in EXTRAS.items():
    without = size(image, "")
    print(f"{image}: {without}")
    for extra in extras:
        added, known = size(image, extra) - without, documented[extra]
        print(f"{extra:<18} {added:+}  documented: {known}", flush=True)
        if known is None or abs(added - known) > TOLERANCE * known:
            stale.append(extra)
stale += [method for extra, method in METHODS.items() if of_method(method) != documented[extra]]
if stale:
    sys.exit(f"wrong figures for {', '.join(stale)}")
measured = sum(EXTRAS.values(), [])
if unmeasured := [extra for extra, figure in documented.items() if figure and extra not in measured]:
    sys.exit(f"figures without a measurement: {', '.join(unmeasured)}")
