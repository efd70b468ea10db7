#!/usr/bin/env python3
"""Limits what a dependency on toolrunner adds to a program: the number of crates, and the features
of crates that other code uses too.

Cargo unifies features: a feature that a library enables is enabled for the whole program, and may
change how the program's own code behaves (serde_json's `arbitrary_precision` does). So a feature
that is not listed here fails the check.
"""
import subprocess
import sys
from pathlib import Path

root = Path(__file__).parent.parent
# The package, its features, and the most crates allowed in its tree, including the package itself.
TREES = [
    ("toolrunner-core", [], 14),
    ("toolrunner-core", ["--features", "alloc"], 14),
    ("toolrunner-c", [], 10),
    ("toolrunner-core", ["--features", "macros"], 14),
    ("toolrunner-core", ["--features", "macros,alloc,std"], 14),
    ("toolrunner-core", ["--features", "serde"], 9),
    ("toolrunner-core", ["--features", "serde-json"], 20),
    ("toolrunner-core", ["--features", "serde-json-core"], 16),
    ("toolrunner-core", ["--features", "chrono,uuid"], 11),
    # Most of these belong to url, which knows the names of hosts in all scripts.
    ("toolrunner-core", ["--features", "url"], 45),
    ("toolrunner-core", ["--features", "schemars"], 22),
    ("toolrunner-embassy", [], 102),
    ("toolrunner-std", ["--no-default-features"], 60),
    ("toolrunner-std", [], 72),
    ("toolrunner-std", ["--all-features"], 165),
    # rustls, its roots and ring are half of it.
    ("toolrunner-blocking", [], 54),
    # The rest belongs to url and schemars.
    ("toolrunner-blocking", ["--all-features"], 90),
]
# Crates that a package must not bring, with any features: asynchronous runtimes, for those who chose to have none.
BANNED = {"toolrunner-blocking": ["async-io", "async-std", "hyper", "mio", "smol", "tokio"]}
# The features that a shared crate may have when all of our features are enabled.
SHARED = {
    "bytes": "default std",
    "chrono": "",
    "futures-util": "alloc async-await async-await-macro futures-macro futures-sink sink slab std",
    "http": "default std",
    "hyper": "client default http1 http2",
    "hyper-util": "client client-legacy client-proxy default tokio",
    "schemars": "std",
    "rustls": "aws-lc-rs aws_lc_rs ring std tls12",
    "serde": "alloc derive serde_derive",
    "serde_core": "alloc result",
    "serde_json": "alloc raw_value",
    "tokio": "bytes default io-util libc mio net process rt signal-hook-registry socket2 sync time",
    "tokio-util": "codec default io libc",
    "tracing": "std",
    "url": "",
    "uuid": "",
    "tracing-subscriber": "alloc fmt registry sharded-slab std thread_local",
}
# Only serde-json-core, for chips, may enable these.
CHIPS = {"serde": "derive serde_derive"}
# Only the feature `otel` may enable these, so they are allowed only with `--all-features`.
OTEL = {"futures-util": "async-await async-await-macro futures-macro futures-sink sink"}
# Only ureq may enable these.
UREQ = {"rustls": "log logging"}
# Crates that only one feature of ours may bring, and none by default.
BROUGHT = {"reqwless": "reqwless", "nourl": "reqwless", "httparse": "reqwless", "buffered-io": "reqwless"}
# Features that depend on one of ours: when none of ours is enabled, they must be off.
OPTIONAL = {"hyper": "http2", "hyper-util": "client-proxy", "rustls": "aws-lc-rs aws_lc_rs ring", "tokio": "process signal-hook-registry"}


def tree(package, features):
    """Returns the features of each crate in a package's tree, by the crate's name."""
    command = ["cargo", "tree", "--locked", "-p", package, *features, "-e", "normal,build", "--prefix", "none", "--no-dedupe"]
    output = subprocess.run([*command, "--format", "{p}|{f}"], cwd=root, check=True, stdout=subprocess.PIPE, text=True).stdout
    crates = {}
    for line in output.splitlines():
        crate, features = line.split("|")
        name, version = crate.split()[:2]
        crates.setdefault((name, version), set()).update(filter(None, features.removesuffix(" (*)").split(",")))
    return crates


problems = []
for package, features, most in TREES:
    crates = tree(package, features)
    title = f"{package} {' '.join(features)}".strip()
    print(f"{title}: {len(crates)} crates, at most {most}")
    if len(crates) > most:
        problems.append(f"{title}: {len(crates)} crates: {' '.join(sorted(name for name, _ in crates))}")
    if package == "toolrunner-embassy":
        problems += [f"{title}: {name} is a dependency without the feature {BROUGHT[name]}" for name, _ in crates if name in BROUGHT]
    problems += [f"{title}: {name} is a dependency" for name, _ in crates if name in BANNED.get(package, [])]
    for (name, version), on in crates.items():
        allowed = set(SHARED.get(name, "").split())
        if package == "toolrunner-blocking":
            allowed |= set(UREQ.get(name, "").split())
        if "--all-features" not in features:
            allowed -= set(OTEL.get(name, "").split())
        if "serde-json-core" not in features:
            allowed -= set(CHIPS.get(name, "").split())
        if "--no-default-features" in features:
            allowed -= set(OPTIONAL.get(name, "").split())
        if name in SHARED and not on <= allowed:
            problems.append(f"{title}: {name} {version} has the features {' '.join(sorted(on - allowed))}")
print("\n".join(problems))
sys.exit(bool(problems))
