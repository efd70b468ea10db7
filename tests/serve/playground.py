#!/usr/bin/env python3
"""Tests the playground in headless Chromium; see playground.mjs.

usage: playground.py AGENT [SCREENSHOTS]

AGENT is the binary of `contract_agent`. Installs playwright-core below target/ if it is missing, and
starts the scripted model and a server on free loopback ports.
"""
import pathlib, subprocess, sys, tempfile

from run import Servers, free_port

PLAYWRIGHT = "playwright-core@1.64.1"


def main():
    agent, screenshots = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:3]
    here = pathlib.Path(__file__).parent
    modules = here.parent.parent / "target" / "playground"
    if not (modules / "node_modules" / "playwright-core").exists():
        modules.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", modules, PLAYWRIGHT], check=True)
    with tempfile.TemporaryDirectory() as folder:
        servers = Servers(agent, pathlib.Path(folder))
        try:
            servers.fake()
            url = servers.start("main", free_port(), "--store", "memory:", "--workers", "4")
            sys.exit(subprocess.run(["node", here / "playground.mjs", modules, url, *screenshots]).returncode)
        finally:
            servers.stop()


if __name__ == "__main__":
    main()
