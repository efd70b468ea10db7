#!/usr/bin/env python3
"""Compares the public API of core and of toolrunner-std with tests/api/.

    tests/api.py            builds the documentation, prints what differs, and fails if anything does
    tests/api.py --bless    writes the files

Fails also if a package has too many public items (`MOST_ITEMS`), with `--bless` too.

A pull request that changes the API so shows the change in its diff. The API is read from rustdoc's
HTML, because its JSON needs a nightly compiler: the declaration of each item, the methods of its
impl blocks, and the traits that it implements. All features are on. Items of other crates that are
exported again are listed by their names only. Left out: the pages of the guide, which have no items,
and impls that the compiler or another crate adds to every type.
"""
import difflib
import html
import re
import subprocess
import sys
from pathlib import Path

root = Path(__file__).parent.parent
# The package, and the fewest items that its documentation has. Fewer mean that rustdoc's HTML has
# changed and this script no longer reads it.
PACKAGES = {"toolrunner-core": 110, "toolrunner-std": 60}
# The most public items that a package may have outside its testing tools. What only the macros and
# the other packages of this project need belongs in the hidden module `__private`; a constant and a
# helper often belong to a type.
MOST_ITEMS = {"toolrunner-core": 109}
LEFT_OUT = {"toolrunner_std::guide"}

# The source of types that core hides, so that they are documented only where a client exports them.
SHARED = r"toolrunner_core/(?:client/|error/escaped\.rs)"


def text(fragment):
    """Returns the code in a piece of HTML, on one line where rustdoc has one."""
    fragment = re.sub(r"<summary.*?</summary>|<a [^>]*class=\"(?:src|anchor|src rightside)\".*?</a>", "", fragment, flags=re.S)
    fragment = fragment.replace("</div>", "\n")
    lines = html.unescape(re.sub(r"<[^>]*>", "", fragment)).replace("\u00a0", " ").split("\n")
    return [line.rstrip() for line in lines if line.strip()]


def between(page, start, ends):
    """Returns the part of a page from the element with the id `start` to the first one of `ends`."""
    _, found, rest = page.partition(f'id="{start}"')
    if not found:
        return ""
    cuts = [at for at in (rest.find(f'id="{end}') for end in ends) if at >= 0]
    return rest[: min(cuts, default=len(rest))]


def describe(page):
    """Yields the lines about the item of a page."""
    declaration = re.search(r'<pre class="rust item-decl"><code>(.*?)</code></pre>', page, re.S)
    if declaration:
        yield from text(declaration[1])
    after = ["trait-implementations-list", "synthetic-implementations-list", "blanket-implementations-list", "deref-methods-"]
    inherent = between(page, "implementations-list", after)
    for header in re.findall(r'<(h[34]) class="code-header">(.*?)</\1>', inherent, re.S):
        yield ("    " if header[0] == "h4" else "") + " ".join(line.strip() for line in text(header[1]))
    traits = between(page, "trait-implementations-list", after[1:])
    lines = [" ".join(line.strip() for line in text(found)) for found in re.findall(r'<h3 class="code-header">(.*?)</h3>', traits, re.S)]
    yield from sorted(lines)


def items(crate, folder, path):
    """Yields the path, kind and page of each item below a module."""
    index = (folder / "index.html").read_text()
    for name in re.findall(r'<section id="reexport[^"]*">.*?<code>(.*?)</code>', index, re.S):
        yield f"{path} {' '.join(text(name))}", ""
    for name in re.findall(r'<dt id="reexport[^"]*"><code>(.*?)</code>', index, re.S):
        yield f"{path} {' '.join(text(name))}", ""
    tables = re.findall(r'<dl class="item-table.*?</dl>', index, re.S)
    for kind, href, name in re.findall(r'<dt><a class="(\w+)" href="([^"]*)"[^>]*>(.*?)</a>', "".join(tables), re.S):
        name = "".join(text(name.replace("<wbr>", "")))
        below = f"{path}::{name}"
        if kind == "mod":
            if below not in LEFT_OUT:
                yield f"mod {below}", ""
                yield from items(crate, folder / name, below)
            continue
        page = (folder / href).read_text()
        is_local = re.search(rf'class="src" href="[./]*src/({crate}/|{SHARED})', page)
        yield f"{kind} {below}", page if is_local else ""


def api(package):
    crate = package.replace("-", "_")
    found = sorted(items(crate, root / "target" / "doc" / crate, crate))
    if len(found) < PACKAGES[package]:
        sys.exit(f"{package}: only {len(found)} items found: has rustdoc's HTML changed?")
    lines = [f"# The public API of {package}. Written by tests/api.py --bless."]
    for title, page in found:
        lines += ["", title, *(f"    {line}" for line in describe(page))]
    return [line + "\n" for line in lines]


def check_count(package):
    """Fails if a package has too many public items: rustdoc's list of all items, without testing."""
    if package not in MOST_ITEMS:
        return
    page = (root / "target" / "doc" / package.replace("-", "_") / "all.html").read_text()
    lists = "".join(re.findall(r'<ul class="all-items">(.*?)</ul>', page, re.S))
    names = ["".join(text(name)) for name in re.findall(r"<li><a [^>]*>(.*?)</a></li>", lists, re.S)]
    count = len([name for name in names if not name.startswith("testing::")])
    if not count:
        sys.exit(f"{package}: no items found in all.html: has rustdoc's HTML changed?")
    if count > MOST_ITEMS[package]:
        sys.exit(f"{package}: {count} public items outside `testing`, at most {MOST_ITEMS[package]} are allowed")


def main():
    # One after the other: std's pages have links to core's source only if core was documented before.
    for package in PACKAGES:
        subprocess.run(["cargo", "doc", "-q", "--all-features", "--no-deps", "-p", package], cwd=root, check=True)
    differs = False
    for package in PACKAGES:
        check_count(package)
        file = root / "tests" / "api" / f"{package}.txt"
        now = api(package)
        if "--bless" in sys.argv[1:]:
            file.parent.mkdir(exist_ok=True)
            file.write_text("".join(now))
            continue
        before = file.read_text().splitlines(keepends=True)
        difference = list(difflib.unified_diff(before, now, str(file.relative_to(root)), "the code"))
        sys.stdout.writelines(difference)
        differs |= bool(difference)
    if differs:
        sys.exit("The public API differs from tests/api. If that is intended, run tests/api.py --bless.")


main()
