"""The command line: `python -m pegaflow COMMAND`.

Each command is a private module with `add_arguments(parser)` and `run(arguments) -> int`, imported only when
it is asked for.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence

_COMMANDS = {
    "replay": ("pegaflow._replay", "replay a block trace through an eviction policy and print its hit rate"),
    "serve": ("pegaflow._serve", "share one engine with the processes of this user over a Unix socket"),
    "stats": ("pegaflow._stats", "show what a running sidecar does, as a live table"),
}


def _parser(wanted: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pegaflow", description="Key-value storage at memory speed.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (module_name, summary) in _COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary.capitalize() + ".")
        if name == wanted:
            module = importlib.import_module(module_name)
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and give its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser(words[0] if words else None).parse_args(words)
    status: int = arguments.run(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main())
