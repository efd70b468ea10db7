#!/usr/bin/env python3
"""Checks the archives of the packages that are published.

    tests/package.py            makes all archives, checks their contents, unpacks them, and builds and tests
                                each package in TESTED from its archive
    tests/package.py NAME...    as above, but builds and tests only these packages

Every package whose manifest does not say `publish = false` is published. Each archive must contain
the README, the licences and at least one source, and nothing outside of them must be needed: the
manifest of the archive must name them.

The unpacked archives form a workspace of their own, in which each depends on the others as they were
unpacked, because these packages are not on crates.io yet. The workspace has the lock file and the
target folder of the repository, so the other crates are not built again. Suites that the other parts
of CI run anyway are represented by a few that use the files of the archive, so that this takes
minutes and not an hour.
"""
import json
import re
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
from pathlib import Path

root = Path(__file__).parent.parent
# The packages that are tested from their archives, and the arguments of `cargo test`.
TESTED = {
    # `snapshot_changed` reads the golden files; `seeds` needs the macros.
    "toolrunner-core": ["--all-features", "--lib", "--test", "seeds", "--test", "snapshot_changed", "--test", "testing_model"],
    "toolrunner-c": ["--all-features", "--lib", "--test", "interface"],
    # `cassette` reads a recording.
    "toolrunner-std": ["--features", "testing", "--lib", "--test", "seeds", "--test", "cassette"],
    "toolrunner-blocking": ["--lib", "--test", "seeds"],
    # Its suites share a file with toolrunner-std's tests, which is not in the archive.
    "toolrunner-mcp": ["--doc"],
    "toolrunner-vertex": ["--lib", "--test", "vertex"],
    "toolrunner-serve": ["--features", "testing", "--lib", "--test", "store_memory"],
    "toolrunner-embassy": ["--features", "flash", "--lib", "--test", "flash"],
    "toolrunner-embedded-tls": ["--lib"],
}
# The packages that are not, and why.
NOT_TESTED = {
    "toolrunner-macros": "its tests need toolrunner-core, which depends on it; core's tests from its archive use the macros",
    "toolrunner-bedrock": "the AWS SDK needs a newer compiler, and minutes to build; the contents of the archive are checked",
    "toolrunner-serve-dynamodb": "the AWS SDK needs a newer compiler, and minutes to build; the contents of the archive are checked",
}
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


def unpack(published, folder):
    """Unpacks all archives into one workspace, and returns its folder."""
    workspace = folder.parent / "unpacked"
    shutil.rmtree(workspace, ignore_errors=True)
    workspace.mkdir()
    folders = {}
    for package in published:
        name = f"{package['name']}-{package['version']}"
        with tarfile.open(folder / f"{name}.crate") as archive:
            # All archives have the same old times, by which Cargo would take an earlier build for a fresh one.
            for member in archive:
                member.mtime = time.time()
                archive.extract(member, workspace, filter="data")
        folders[package["name"]] = name
    # Only what the tests use is a member. The others would only be resolved.
    members = ", ".join(f'"{folders[name]}"' for name in [*TESTED, "toolrunner-macros"])
    patches = "\n".join(f'{name} = {{ path = "{path}" }}' for name, path in folders.items() if name in TESTED or name == "toolrunner-macros")
    profile = tomllib.loads((root / "Cargo.toml").read_text())["profile"]["dev"]
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in profile.items())
    manifest = f'[workspace]\nresolver = "3"\nmembers = [{members}]\n\n[patch.crates-io]\n{patches}\n\n[profile.dev]\n{lines}\n'
    (workspace / "Cargo.toml").write_text(manifest)
    shutil.copy(root / "Cargo.lock", workspace)
    return workspace


def main():
    published = packages()
    names = [package["name"] for package in published]
    known = {*TESTED, *NOT_TESTED}
    if set(names) != known:
        sys.exit(f"TESTED and NOT_TESTED do not name exactly the published packages: {sorted(set(names) ^ known)}")
    chosen = sys.argv[1:] or TESTED
    if not set(chosen) <= set(TESTED):
        sys.exit(f"the packages that can be tested are {' '.join(TESTED)}")
    target = root / "target" / "packages"
    command = ["cargo", "package", "--allow-dirty", "--no-verify", "--target-dir", target]
    choose = [argument for name in names for argument in ("-p", name)]
    subprocess.run([*command, *choose], cwd=root, check=True)
    bad = 0
    for package in published:
        for fault in faults(package, target / "package"):
            print(f"{package['name']}: {fault}")
            bad += 1
    print(f"{len(published)} archives, {bad} faults")
    if bad:
        sys.exit(1)
    workspace = unpack(published, target / "package")
    for name in chosen:
        command = ["cargo", "test", "--target-dir", root / "target", "-p", name, *TESTED[name]]
        run = subprocess.run(command, cwd=workspace, stdout=subprocess.PIPE, text=True)
        passed = re.findall(r"^test result: .* (\d+) passed", run.stdout, re.MULTILINE)
        if run.returncode or not passed or "0" in passed:
            # A suite that the features turn off would pass, too.
            sys.exit(f"{run.stdout}{name}: {' '.join(passed) or 'no'} tests passed")
        print("built and tested from its archive:", name, *TESTED[name], flush=True)
    for name, reason in NOT_TESTED.items():
        print(f"not tested from its archive: {name}: {reason}")


main()
