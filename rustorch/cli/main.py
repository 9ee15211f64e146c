"""The console script `rustorch`: one subcommand a module, each with `describe(parser)` and `run(options) -> exit status`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rustorch.cli import cache, demo, environment
from rustorch.errors import UserError
from rustorch.version import VERSION

COMMANDS = {
    "cache": (cache, "compiled code that is kept on disk: how much, clear, pack, unpack"),
    "demo": (demo, "train on handwritten digits, export the gradient as a C library, write the inspection page"),
    "env": (environment, "versions and machine, as text for a bug report"),
}


def parser() -> argparse.ArgumentParser:
    """The command line as a parser."""
    top = argparse.ArgumentParser(prog="rustorch", description="Gradients as native code.")
    top.add_argument("--version", action="version", version=f"rustorch {VERSION}")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        module.describe(command)
        command.set_defaults(run=module.run)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status of the command that `arguments` (by default the process's) ask for."""
    options = parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except UserError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
