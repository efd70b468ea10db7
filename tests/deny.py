#!/usr/bin/env python3
"""Checks deny.toml: the licenses, sources and banned crates of every lock file, and duplicate
versions in the workspace's.

cargo-deny checks the same rules and also knows advisories, but it takes minutes to build; this takes
seconds. Needs Python 3.11 or newer.
"""
import collections
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

root = Path(__file__).parent.parent
rules = tomllib.loads((root / "deny.toml").read_text())
exceptions = {one["crate"]: one["allow"] for one in rules["licenses"]["exceptions"]}
banned = {one["name"] for one in rules["bans"]["deny"]}
problems = []


def metadata(lock):
    """Returns the packages of a lock file, with every feature enabled."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--all-features", "--manifest-path", lock.with_name("Cargo.toml")]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["packages"]


def allowed(licence, extra):
    """Returns whether the allowed licenses satisfy an SPDX expression. `/` is the old way to write
    OR.
    """
    names = {*rules["licenses"]["allow"], *extra}
    terms = re.sub(r"\s+WITH\s+[\w.-]+", "", licence).replace("/", " OR ")
    terms = re.sub(r"[\w.-]+", lambda term: {"AND": "and", "OR": "or"}.get(term[0], str(term[0] in names)), terms)
    return re.fullmatch(r"(?:[\s()]|and|or|True|False)+", terms) is not None and eval(terms)


# Leaves out the lock files of packages that a build has unpacked below `target`.
found = sorted(lock for depth in ("", "*/", "*/*/", "*/*/*/") for lock in root.glob(f"{depth}Cargo.lock") if "target" not in lock.parts)
locks = {str(lock.relative_to(root)): metadata(lock) for lock in found}
used_exceptions = set()
for lock, packages in locks.items():
    for package in packages:
        name, version, source = package["name"], package["version"], package["source"]
        if not allowed(package["license"] or "", []):
            used_exceptions.add(name)
            if not allowed(package["license"] or "", exceptions.get(name, [])):
                problems.append(f"{lock}: {name} {version}: its licence is {package['license']}")
        if source not in (None, "registry+https://github.com/rust-lang/crates.io-index"):
            problems.append(f"{lock}: {name} {version}: it comes from {source}")
        if name in banned:
            problems.append(f"{lock}: {name} {version}: it is banned")
problems += [f"deny.toml makes an exception for {name}, which needs none" for name in exceptions.keys() - used_exceptions]

versions = collections.defaultdict(list)
for package in locks["Cargo.lock"]:
    versions[package["name"]].append(package["version"])

skips = [(skip["name"], skip["version"]) for skip in rules["bans"]["skip"]]
used = set()
for name, all_versions in sorted(versions.items()):
    left = []
    for version in all_versions:
        accepted = [skip for skip in skips if skip[0] == name and f"{version}.".startswith(f"{skip[1]}.")]
        if accepted and len(all_versions) > 1:
            used.update(accepted)
        else:
            left.append(version)
    if len(left) > 1:
        problems.append(f"{name}: {' and '.join(left)}, and deny.toml has no reason for it")
problems += [f"{name} {version}: deny.toml accepts a crate that is not duplicated" for name, version in skips if (name, version) not in used]

print("\n".join(problems))
for lock, packages in locks.items():
    print(f"{lock}: {len(packages)} crates")
print(f"{len(used)} accepted duplicates, {len(problems)} problems")
sys.exit(bool(problems))
