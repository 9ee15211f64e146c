"""`rustorch cache`: what compiled code is kept on disk, and what to do with it. Needs no extra."""

from __future__ import annotations

import argparse
from pathlib import Path

from rustorch.errors import ArgumentError, compose
from rustorch.runtime.cache import Cache, open_cache


def describe(command: argparse.ArgumentParser) -> None:
    """Add the actions of `rustorch cache` to its parser."""
    actions = command.add_subparsers(title="actions", required=True, metavar="ACTION", dest="action")
    actions.add_parser("info", help="where it is, how much it holds, how much it may hold")
    actions.add_parser("clear", help="take everything away")
    pack = actions.add_parser("pack", help="write everything into one archive, for a machine of the same level with the same versions")
    pack.add_argument("file", type=Path)
    unpack = actions.add_parser("unpack", help="take in what `pack` wrote")
    unpack.add_argument("file", type=Path)


def run(options: argparse.Namespace) -> int:
    """Do what was asked."""
    cache = open_cache()
    if cache is None:
        print("there is no cache: RUSTORCH_CACHE=0, an empty RUSTORCH_CACHE_DIR, or a folder that others may write into")
        return 1
    print(_done(cache, options))
    return 0


def _done(cache: Cache, options: argparse.Namespace) -> str:
    if options.action == "clear":
        return f"{cache.clear()} files taken away"
    if options.action == "unpack":
        return f"{cache.unpack(options.file)} files taken in"
    if options.action == "pack":
        try:
            return f"{cache.pack(options.file)} files in {options.file}"
        except OSError as error:
            raise ArgumentError(compose(f"{options.file} cannot be written", str(error))) from None
    found = cache.info()
    lines = [f"folder  {found.folder}", f"files   {found.files}", f"bytes   {found.bytes:,}", f"limit   {found.limit:,}"]
    return "\n".join(lines)
