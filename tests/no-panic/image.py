"""Lists the panics in an image for Cortex-M, and finds recursion.

    image.py IMAGE [PANIC...]

Fails if the image contains a function of `core::panicking` (or an equivalent) that is not named, if
any other function reaches them through `panic_fmt`, or if the direct calls contain a cycle: the stack
then has no bound. Needs Debian's llvm.
"""
import bisect
import re
import subprocess
import sys

# The functions that panic, under all their names.
PANICS = re.compile(r"^core::(panicking::|.*_fail(ed)?$|.*::panic_|.*_fail::)")
FORMAT = "core::panicking::panic_fmt"
FUNCTION = re.compile(r"^([0-9a-f]+) <([^$].*)>:$")
BRANCH = re.compile(r"\t(blx?|b(?:[a-z]{2})?(?:\.[nw])?|cbn?z)\t(?:\w+, )?0x([0-9a-f]+)\s")
# The padding that the linker puts between functions; it disassembles as a branch.
FILLER = ": d4 d4 "


def calls(image):
    """Returns each function, with the functions that it calls or tail-calls."""
    text = subprocess.run(["llvm-objdump", "-d", "-C", image], check=True, capture_output=True, text=True).stdout
    starts, branches = {}, []
    for line in text.splitlines():
        if found := FUNCTION.match(line):
            name = found[2]
            starts[int(found[1], 16)] = name
        elif (found := BRANCH.search(line)) and FILLER not in line:
            branches.append((name, found[1], int(found[2], 16)))
    graph, addresses = {name: set() for name in starts.values()}, sorted(starts)
    for name, instruction, address in branches:
        # The disassembler names targets within a function by its own labels.
        target = starts[addresses[bisect.bisect_right(addresses, address) - 1]]
        # A jump within a function is a loop.
        if target != name or instruction in ("bl", "blx"):
            graph[name].add(target)
    return graph


def circle(graph):
    """Returns a cycle of functions that call each other, or nothing if there is none."""
    done = set()
    for first in graph:
        path, todo = [], [(first, iter(graph.get(first, ())))]
        if first in done:
            continue
        path.append(first)
        while todo:
            name, rest = todo[-1]
            called = next(rest, None)
            if called is None:
                done.add(name)
                path.pop()
                todo.pop()
            elif called in path:
                return path[path.index(called):]
            elif called not in done:
                path.append(called)
                todo.append((called, iter(graph.get(called, ()))))
    return None


def main(image, *allowed):
    graph = calls(image)
    if len(graph) < 50:
        sys.exit(f"{image}: only {len(graph)} functions are named: is it stripped?")
    wrong = []
    for name in sorted(graph):
        if PANICS.match(name) and name not in allowed:
            callers = sorted(caller for caller in graph if name in graph[caller])
            wrong.append(f"it can panic: {name}, called by {', '.join(callers) or 'nobody by its name'}")
        if FORMAT in graph[name] and name not in allowed:
            wrong.append(f"it can panic: {name} calls {FORMAT}")
    if recursive := circle(graph):
        wrong.append(f"it recurses: {' -> '.join(recursive)} -> {recursive[0]}")
    print(f"{image}: {len(graph)} functions, {sum(map(len, graph.values()))} calls, panics: {', '.join(name for name in sorted(graph) if PANICS.match(name)) or 'none'}")
    sys.exit("\n".join(wrong) or 0)


main(*sys.argv[1:])
