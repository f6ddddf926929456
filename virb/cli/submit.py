"""`virb submit`: make a results folder ready for a public leaderboard, and check that it is."""

from __future__ import annotations

import argparse

HELP = "check that a results folder can go into a public leaderboard: whole, comparable, described"
EPILOG = """examples:
  virb submit results --start      # writes results/submission.yaml, to be filled in
  virb submit results --check      # looks at every record and at the card; exit status 1 where something is missing

Nothing is sent anywhere: a folder that passes goes into a pull request as it is. It is a results folder (records and their
predictions) with a submission.yaml: title, suite, contact, and of each encoder where its weights are, their licence and
how it was pretrained.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", metavar="DIR", help="the results folder")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="check the folder")
    what.add_argument("--start", action="store_true", help="write the card to fill in")
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")


def run(args: argparse.Namespace) -> int:
    import dataclasses
    import json

    from virb.records.submission import check_submission, start

    if args.start:
        print(f"{start(args.results)}: fill it in, then virb submit {args.results} --check")
        return 0
    found = check_submission(args.results)
    if args.json:
        print(json.dumps([dataclasses.asdict(one) for one in found], indent=2))
    else:
        for one in found:
            print(f"{'ok    ' if one.is_ok else 'FAILED'} {one.name}: {one.detail}")
    return 0 if all(one.is_ok for one in found) else 1
