#!/usr/bin/env python3
"""Holds deny.toml: licences, sources, duplicate versions and banned crates of all that the workspace depends on.

cargo-deny does the same and knows advisories besides, but takes minutes to build; this takes a second. Python 3.11 or newer.
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
command = ["cargo", "metadata", "--locked", "--format-version", "1", "--all-features"]
packages = json.loads(subprocess.run(command, cwd=root, check=True, stdout=subprocess.PIPE).stdout)["packages"]
problems = []


def allowed(licence):
    """Whether an SPDX expression can be met by the licences that are allowed. `/` is the old way to write OR."""
    terms = re.sub(r"\s+WITH\s+[\w.-]+", "", licence).replace("/", " OR ")
    terms = re.sub(r"[\w.-]+", lambda term: {"AND": "and", "OR": "or"}.get(term[0], str(term[0] in rules["licenses"]["allow"])), terms)
    return re.fullmatch(r"(?:[\s()]|and|or|True|False)+", terms) is not None and eval(terms)


versions = collections.defaultdict(list)
banned = {one["name"] for one in rules["bans"]["deny"]}
for package in packages:
    name, version, source = package["name"], package["version"], package["source"]
    versions[name].append(version)
    if not allowed(package["license"] or ""):
        problems.append(f"{name} {version}: its licence is {package['license']}")
    if source not in (None, "registry+https://github.com/rust-lang/crates.io-index"):
        problems.append(f"{name} {version}: it comes from {source}")
    if name in banned:
        problems.append(f"{name} {version}: it is banned")

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
problems += [f"{name} {version}: deny.toml accepts a duplicate that is none" for name, version in skips if (name, version) not in used]

print("\n".join(problems))
print(f"{len(packages)} crates, {len(used)} accepted duplicates, {len(problems)} problems")
sys.exit(bool(problems))
