"""The command line: one module a verb, found by name, none of which imports torch before it runs."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from virb import __version__
from virb.cli.parser import Parser
from virb.errors import VirbError, spoken_as_command

# In the order in which a user meets them.
VERBS = (
    "demo",
    "list",
    "evaluate",
    "tune",
    "analyze",
    "report",
    "paper",
    "pretrain",
    "results",
    "data",
    "show",
    "validate",
    "export",
    "submit",
    "new",
)


def build_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(
        prog="virb",
        description="Evaluate frozen image encoders on many end tasks, and analyse the scores.",
        epilog="Each verb has its own help with examples: virb VERB --help",
    )
    parser.add_argument("--version", action="version", version=f"virb {__version__}")
    common = Parser(add_help=False)
    common.add_argument(
        "--include",
        metavar="DIR",
        action="append",
        default=[],
        help="a folder with tasks, methods or analyses of your own (may be repeated; also $VIRB_INCLUDE)",
    )
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name in VERBS:
        module = importlib.import_module(f"virb.cli.{name}")
        verb = verbs.add_parser(
            name,
            help=module.HELP,
            description=module.HELP[0].upper() + module.HELP[1:] + ".",
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            parents=[common],
        )
        module.add_arguments(verb)
        verb.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 all done, 1 some jobs failed, 2 the call cannot be done."""
    args = build_parser().parse_args(argv)
    with spoken_as_command():
        return _run(args)


def _run(args: argparse.Namespace) -> int:
    try:
        if args.include:
            from virb import registry

            registry.include(*args.include)
        return int(args.run(args))
    except VirbError as error:
        print(f"virb {args.verb}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        if hasattr(stopped, "status"):  # a pretraining run that saved its state (virb.pretraining.stopping)
            print(f"virb {args.verb}: {stopped}", file=sys.stderr)
            return int(stopped.status)
        print(f"\nvirb {args.verb}: interrupted; what was finished is saved.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has gone. Point stdout at nothing so that the interpreter's last flush is silent.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
