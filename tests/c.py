#!/usr/bin/env python3
"""Checks the C libraries, their header, the WebAssembly module, and the programs that use them.

usage: c.py [install|header|library|desktop|python|firmware|small|module|node|browser]...

Each name is one check, which builds what it needs. Without arguments all of them run. The programs
talk to the scripted model of the examples.
"""
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = ROOT / "target"
HEADER = ROOT / "core/c/include/toolrunner.h"
PROMPT = "What's the weather like in Paris? Also, what's 15 + 27?"
ANSWER = "The weather in Paris: Sunny, 68°F. 15 + 27 = 42."
# Every page loads the module, so its size has a limit. README.md in core/c states it.
MODULE_BYTES = 190_000
# core's search for a byte contains a bounds check that never fails. The optimizer does not remove
# it when it optimizes for size.
SIZE_PANICS = {"panic_bounds_check", "panic_fmt"}
# The symbols that the libraries may import from C.
NEEDED = {"bcmp", "memcmp", "memcpy", "memmove", "memset", "strlen"}
# Debian's toolchain includes the sources of core, for targets that rustup has not installed.
CHIP = {
    **{name: value for name, value in os.environ.items() if name not in ("RUSTUP_TOOLCHAIN", "CARGO", "RUSTFLAGS")},
    "RUSTC_BOOTSTRAP": "1",
    "RUSTC": "/usr/bin/rustc",
}


def run(*command, **options):
    return subprocess.run(list(map(str, command)), check=True, cwd=options.pop("cwd", ROOT), **options)


def output(*command, **options):
    return run(*command, stdout=subprocess.PIPE, text=True, **options).stdout


def fail(words):
    sys.exit(f"tests/c.py: {words}")


class Scripted:
    """Runs the scripted model on a port of this machine: the program that the environment names, or a new build."""

    def __enter__(self):
        server = os.environ.get("SCRIPTED_SERVER")
        if not server:
            run("cargo", "build", "-q", "-p", "toolrunner-examples", "--bin", "scripted_server")
            server = TARGET / "debug/scripted_server"
        self.process = subprocess.Popen([server], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self.process.stdout.readline().strip()

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()


def library(kind):
    """Builds the static or the shared library for this machine."""
    run("cargo", "rustc", "-q", "-p", "toolrunner-c", "--profile", "c", "--crate-type", kind)
    return TARGET / "c" / {"staticlib": "libtoolrunner.a", "cdylib": "libtoolrunner.so"}[kind]


def install():
    """Installs cbindgen, and returns its path."""
    tool = TARGET / "tools/bin/cbindgen"
    if not tool.exists():
        run("cargo", "install", "-q", "--debug", "--locked", "--root", TARGET / "tools", "cbindgen@0.29.4")
    return tool


def check_header():
    """Checks that the header is what cbindgen generates and that C and C++ compile it."""
    arguments = [install(), "--quiet", "--config", "core/c/cbindgen.toml", "--output", HEADER]
    if "BLESS" in os.environ:
        run(*arguments, "core/c")
    elif subprocess.run([*map(str, arguments), "--verify", "core/c"], cwd=ROOT).returncode:
        fail("include/toolrunner.h is not what cbindgen makes of the sources: BLESS=1 tests/c.py header")
    for language, standard in ("c", "c99"), ("c++", "c++11"):
        run("cc", "-x", language, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", HEADER)


def check_library():
    """Checks that the shared library contains no panic, imports only C's memory functions, and
    exports what the header declares.
    """
    symbols = [line.split()[-2:] for line in output("nm", library("cdylib")).splitlines()]
    names = {name.split("@")[0]: kind for kind, name in symbols}
    if panics := [name for name in names if re.search("panick|rust_begin_unwind|unwind", name, re.I)]:
        fail(f"the library can panic: {panics}")
    if wanted := {name for name, kind in names.items() if kind == "U"} - NEEDED:
        fail(f"the library needs {wanted}")
    declared = set(re.findall(r"\b(toolrunner_\w+)\(", re.sub(r"//.*|/\*[\s\S]*?\*/", "", HEADER.read_text())))
    exported = {name for name, kind in names.items() if kind == "T" and name.startswith("toolrunner_")}
    if declared != exported:
        fail(f"only in the header or only in the library: {declared ^ exported}")
    print(f"libtoolrunner.so: {len(exported)} functions, no panic")


def compiled():
    program = TARGET / "c/quickstart"
    run("cc", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-O1", "-g", "-Icore/c/include", "examples/c/quickstart.c",
        library("staticlib"), "-o", program)
    return program


def check_desktop():
    """Compares the output of the C program with the expected output, also under memcheck."""
    program = compiled()
    with Scripted() as url:
        said = output(program, url)
        expected = (ROOT / "examples/c/quickstart.txt").read_text()
        if said != expected:
            fail(f"quickstart.c said:\n{said}\nnot:\n{expected}")
        checked = output("valgrind", "-q", "--error-exitcode=9", "--leak-check=full", program, url)
        if checked != expected:
            fail("quickstart.c says something else under valgrind")
    failed = subprocess.run([program, "http://127.0.0.1:1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if (failed.returncode, failed.stderr) != (1, "error: request: could not connect\n"):
        fail(f"without a server quickstart.c ends with {failed.returncode}: {failed.stderr}")
    print("examples/c/quickstart.c: as expected, also under memcheck")


def check_python():
    """Compares the output of the ctypes program with the expected output."""
    with Scripted() as url:
        said = output(sys.executable, "examples/python/quickstart.py", library("cdylib"), url)
    if ANSWER not in said:
        fail(f"quickstart.py said:\n{said}")
    print("examples/python/quickstart.py: as expected")


FIRMWARE = ROOT / "examples/c/firmware"


def firmware(documented, *options, panics=(), **variables):
    """Builds the C firmware, which may have these panics, and compares its flash with the README's figure.

    Returns the image, and its flash and static RAM in bytes.
    """
    target = "thumbv7m-none-eabi"
    run("/usr/bin/cargo", "rustc", "-q", "-p", "toolrunner-c", "--profile", "c", "--crate-type", "staticlib", "--target", target,
        "--target-dir", "target/chips", "-Z", "build-std=core", *options, env=CHIP | variables)
    image = TARGET / "chips" / target / "c/firmware.elf"
    run("arm-none-eabi-gcc", "-mcpu=cortex-m3", "-mthumb", "-std=c11", "-Os", "-g", "-Wall", "-Wextra", "-Werror", "-ffreestanding",
        "-nostdlib", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections,--no-warn-execstack", "-Icore/c/include",
        "-T", FIRMWARE / "link.ld", FIRMWARE / "board.c", FIRMWARE / "main.c", image.parent / "libtoolrunner.a", "-lgcc", "-o", image)
    size = output("arm-none-eabi-size", image).splitlines()[1].split()
    symbols = [line for line in output("arm-none-eabi-nm", image).splitlines() if "panicking" in line]
    if others := [line for line in symbols if not any(name in line for name in panics)]:
        fail(f"the firmware can panic: {others}")
    flash, memory = int(size[0]) + int(size[1]), int(size[1]) + int(size[2])
    figure = re.search(documented, (ROOT / "core/c/README.md").read_text())
    if not figure or abs(flash - 1000 * int(figure[1])) > 1000:
        fail(f"core/c/README.md has another size of the firmware than {flash} bytes")
    return image, flash, memory


def check_firmware():
    """Runs the C firmware in QEMU, connected to the scripted model by a serial line."""
    image, flash, memory = firmware(r"KB of flash instead of (\d+) KB")
    with Scripted() as url:
        serial = "tcp:" + url.removeprefix("http://")
        said = output("qemu-system-arm", "-M", "lm3s6965evb", "-display", "none", "-monitor", "none", "-semihosting-config",
                      "enable=on,target=native", "-serial", serial, "-kernel", image, stderr=subprocess.STDOUT, timeout=120)
    # QEMU itself prints this line about a timer that is not set.
    said = said.replace("Timer with period zero, disabling\n", "")
    expected = (FIRMWARE / "expected.txt").read_text()
    if said != expected:
        fail(f"the firmware said:\n{said}\nnot:\n{expected}")
    print(f"examples/c/firmware: as expected; flash {flash} bytes, static RAM {memory} bytes")


def check_small():
    """Builds the C firmware for size, as the README describes."""
    _, flash, _ = firmware(r"takes (\d+) KB\s+of flash", "-Z", "build-std-features=optimize_for_size", panics=SIZE_PANICS,
                           CARGO_PROFILE_C_OPT_LEVEL="z")
    print(f"examples/c/firmware, built for size: flash {flash} bytes")


def sections(module):
    """Yields the sections of a module: the id, the name if the section is custom, and all bytes."""
    def number(at):
        value = shift = 0
        while True:
            byte = module[at]
            value, shift, at = value | (byte & 127) << shift, shift + 7, at + 1
            if byte < 128:
                return value, at
    at = 8
    while at < len(module):
        length, start = number(at + 1)
        name = None
        if module[at] == 0:
            size, place = number(start)
            name = module[place:place + size].decode()
        yield module[at], name, module[at:start + length]
        at = start + length


def module():
    """Builds the module, checks it, and writes it without its name section."""
    flags = "-C linker=wasm-ld -C link-arg=--export=__heap_base"
    run("/usr/bin/cargo", "rustc", "-q", "-p", "toolrunner-c", "--profile", "c", "--crate-type", "cdylib", "--target", "wasm32-unknown-unknown",
        "--target-dir", "target/wasm", "-Z", "build-std=core", env={**CHIP, "RUSTFLAGS": flags, "CARGO_PROFILE_C_OPT_LEVEL": "z"})
    built = (TARGET / "wasm/wasm32-unknown-unknown/c/toolrunner.wasm").read_bytes()
    parts = list(sections(built))
    names = b"".join(part for _, name, part in parts if name == "name")
    if not names:
        fail("the module has no names to look for panics in")
    panics = {name.decode() for name in re.findall(rb"9panicking\d+(\w*?)(?=[^\w]|$)", names)}
    if panics - SIZE_PANICS:
        fail(f"the module can panic: {panics - SIZE_PANICS}")
    if any(kind == 2 for kind, _, _ in parts):
        fail("the module imports something")
    small = built[:8] + b"".join(part for kind, _, part in parts if kind != 0)
    path = TARGET / "wasm/toolrunner.wasm"
    path.write_bytes(small)
    print(f"toolrunner.wasm: {len(small)} bytes, at most {MODULE_BYTES}; imports nothing; panics: {', '.join(sorted(panics)) or 'none'}")
    if len(small) > MODULE_BYTES:
        fail("the module is too large")
    return path


def built_module():
    path = TARGET / "wasm/toolrunner.wasm"
    return path if path.exists() else module()


def check_node():
    """Tests the JavaScript package in Node.js."""
    path = built_module()
    with Scripted() as url:
        run("node", "core/c/js/test.mjs", path, url)


def check_browser():
    """Opens the package's example page in headless Chromium and checks that text appears as it
    streams.
    """
    path = built_module()
    modules = TARGET / "playground"
    if not (modules / "node_modules/playwright-core").exists():
        modules.mkdir(parents=True, exist_ok=True)
        run("npm", "install", "--no-audit", "--no-fund", "--prefix", modules, "playwright-core@1.64.1")
    with Scripted() as url:
        run("node", "tests/browser.mjs", modules, path, url)


CHECKS = {
    "install": install,
    "header": check_header,
    "library": check_library,
    "desktop": check_desktop,
    "python": check_python,
    "firmware": check_firmware,
    "small": check_small,
    "module": module,
    "node": check_node,
    "browser": check_browser,
}

if __name__ == "__main__":
    for name in sys.argv[1:] or CHECKS:
        CHECKS[name]()
