#!/usr/bin/env python3
"""Checks the archives of the packages that are published.

    tests/package.py          makes all archives, checks their contents, and builds those in BUILT from
                              their archives alone

Every package whose manifest does not say `publish = false` is published. Each archive must contain
the README, the licences and at least one source, and nothing outside of them must be needed: the
manifest of the archive must name them. The archives are built against each other, not against
crates.io, where these packages are not published yet.

Not built: embassy, mcp, serve, vertex and the two on the AWS crates, which take minutes. Their
sources are the same as in the other parts; here only the contents of their archives are checked. The
tests are not run from the archives, because their dev-dependencies need the whole workspace.
"""
import json
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

root = Path(__file__).parent.parent
# Built from their archives: arguments of cargo, and the packages. They are built together, because
# none of them is on crates.io.
BUILT = [
    (["--all-features"], ["toolrunner-core", "toolrunner-macros", "toolrunner-c"]),
    ([], ["toolrunner-core", "toolrunner-macros", "toolrunner-std"]),
]
# crates.io's limits.
MOST_KEYWORDS, MOST_CATEGORIES = 5, 5


def packages():
    text = subprocess.check_output(["cargo", "metadata", "--no-deps", "--format-version", "1"], cwd=root)
    return [package for package in json.loads(text)["packages"] if package["publish"] is None]


def faults(package, folder):
    """Yields what is wrong with the archive of a package."""
    name, version = package["name"], package["version"]
    with tarfile.open(folder / f"{name}-{version}.crate") as archive:
        files = {member.name.removeprefix(f"{name}-{version}/"): member for member in archive}
        manifest = tomllib.loads(archive.extractfile(files["Cargo.toml"]).read().decode())["package"]
        texts = {file: archive.extractfile(files[file]).read() for file in files if "/" not in file and files[file].isfile()}
    alternatives = manifest["license"].split(" OR ")
    licences = {"MIT": "LICENSE-MIT", "Apache-2.0": "LICENSE-APACHE" if len(alternatives) > 1 else "LICENSE"}
    for file in ["README.md", "src/lib.rs", *(licences[licence] for licence in alternatives)]:
        if file not in files:
            yield f"{file} is missing"
        elif not files[file].isfile() or files[file].size < 100:
            yield f"{file} is not a file with contents"
    for file in licences.values():
        # A link that was stored as text would be a licence of one line.
        if file in texts and len(texts[file].splitlines()) < 15:
            yield f"{file} is too short"
    if manifest.get("readme") != "README.md":
        yield "the manifest names no README.md"
    if not manifest.get("description"):
        yield "the manifest has no description"
    for key, most in [("keywords", MOST_KEYWORDS), ("categories", MOST_CATEGORIES)]:
        if not 1 <= len(manifest.get(key, [])) <= most:
            yield f"the manifest must have 1 to {most} {key}"
    if not manifest.get("metadata", {}).get("docs", {}).get("rs", {}).get("all-features"):
        yield "the manifest does not ask docs.rs for all features"


def main():
    published = packages()
    names = [package["name"] for package in published]
    target = root / "target" / "packages"
    command = ["cargo", "package", "--allow-dirty", "--target-dir", target]
    choose = [argument for name in names for argument in ("-p", name)]
    subprocess.run([*command, "--no-verify", *choose], cwd=root, check=True)
    bad = 0
    for package in published:
        for fault in faults(package, target / "package"):
            print(f"{package['name']}: {fault}")
            bad += 1
    print(f"{len(published)} archives, {bad} faults")
    if bad:
        sys.exit(1)
    for features, names in BUILT:
        chosen = [argument for name in names for argument in ("-p", name)]
        subprocess.run([*command, "--quiet", *features, *chosen], cwd=root, check=True)
        print("built from their archives:", *features, *names)


main()
