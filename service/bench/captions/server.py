"""`tokenspeed serve` with one of the compared policies in force: what the replay starts."""

import argparse
import sys
from collections.abc import Sequence

from service.bench.captions.policies import POLICIES, in_force
from service.cli import add_parser
from tokenspeed.cli import build_parser, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; what follows `--policy NAME` goes to `serve`."""
    parser = argparse.ArgumentParser(prog="python -m service.bench.captions.server")
    parser.add_argument("--policy", choices=list(POLICIES), required=True)
    options, rest = parser.parse_known_args(arguments)
    commands, subparsers = build_parser()
    add_parser(subparsers)
    with in_force(POLICIES[options.policy]):
        return run(commands, ["serve", *rest])


if __name__ == "__main__":
    sys.exit(main())
