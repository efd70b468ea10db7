#!/usr/bin/env python3
"""Checks the archives of the packages that are published.

Makes all archives, checks their contents, unpacks them, and builds and tests each package in TESTED
from its archive.

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
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import tomllib
from pathlib import Path

root = Path(__file__).parent.parent
# The packages that are tested from their archives, and their suites besides the unit tests.
TESTED = {
    # `snapshot_changed` reads the golden files; `seeds` needs the macros.
    "toolrunner-core": ["seeds", "snapshot_changed", "testing_model"],
    "toolrunner-c": ["interface"],
    # `cassette` reads a recording.
    "toolrunner-std": ["seeds", "cassette"],
    "toolrunner-blocking": ["seeds"],
    # Its suites share a file with toolrunner-std's tests, which is not in the archive.
    "toolrunner-mcp": [],
    "toolrunner-vertex": ["vertex"],
    "toolrunner-serve": ["store_memory"],
    "toolrunner-embassy": ["flash"],
    "toolrunner-embedded-tls": [],
}
# The selections of packages that are built at once, so that Cargo builds their dependencies once. The records of
# toolrunner-embassy's feature `defmt` need a debug probe.
EMBASSY = ["-p", "toolrunner-embassy", "--features", "flash"]
OTHERS = ["--workspace", "--exclude", "toolrunner-embassy", "--all-features"]
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
    others = profile.pop("package")["*"]
    lines, of_others = ("\n".join(f"{key} = {json.dumps(value)}" for key, value in part.items()) for part in (profile, others))
    manifest = f'[workspace]\nresolver = "3"\nmembers = [{members}]\n\n[patch.crates-io]\n{patches}\n\n'
    manifest += f'[profile.dev]\n{lines}\n\n[profile.dev.package."*"]\n{of_others}\n'
    (workspace / "Cargo.toml").write_text(manifest)
    shutil.copy(root / "Cargo.lock", workspace)
    return workspace


def build(workspace, selection, names):
    """Builds the tests of these packages, and yields the package, the suite and the program of each."""
    suites = sorted({suite for name in names for suite in TESTED[name]})
    command = ["cargo", "test", "--target-dir", root / "target", *selection, "--lib", *(part for suite in suites for part in ("--test", suite))]
    built = subprocess.run([*command, "--no-run", "--message-format=json-render-diagnostics"], cwd=workspace, stdout=subprocess.PIPE, text=True)
    if built.returncode:
        sys.exit(f"the tests of {' '.join(names)} do not build from the archives")
    for message in map(json.loads, built.stdout.splitlines()):
        if message.get("executable") and message["profile"]["test"]:
            manifest, target = tomllib.loads(Path(message["manifest_path"]).read_text()), message["target"]
            yield manifest["package"]["name"], target["name"] if "test" in target["kind"] else "lib", message["executable"]


def main():
    if sys.argv[1:]:
        sys.exit(__doc__)
    published = packages()
    names = [package["name"] for package in published]
    known = {*TESTED, *NOT_TESTED}
    if set(names) != known:
        sys.exit(f"TESTED and NOT_TESTED do not name exactly the published packages: {sorted(set(names) ^ known)}")
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
    rest = [name for name in TESTED if name != "toolrunner-embassy"]
    programs = [*build(workspace, OTHERS, rest), *build(workspace, EMBASSY, ["toolrunner-embassy"])]
    missing = {(name, suite) for name in TESTED for suite in ["lib", *TESTED[name]]}
    for name, suite, program in programs:
        if (name, suite) not in missing:
            continue
        missing.remove((name, suite))
        version = next(package["version"] for package in published if package["name"] == name)
        folder = workspace / f"{name}-{version}"
        environment = os.environ | {"CARGO_MANIFEST_DIR": str(folder)}
        run = subprocess.run([program], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
        passed = re.findall(r"^test result: .* (\d+) passed", run.stdout, re.MULTILINE)
        if run.returncode or len(passed) != 1 or passed == ["0"]:
            # A suite that the features turn off would pass, too.
            sys.exit(f"{run.stdout}{name}, {suite}: {' '.join(passed) or 'no'} tests passed")
        print(f"built and tested from its archive: {name}, {suite}: {passed[0]} tests", flush=True)
    if missing:
        sys.exit(f"not built: {sorted(missing)}")
    for name, reason in NOT_TESTED.items():
        print(f"not tested from its archive: {name}: {reason}")


main()
