"""`tokenspeed serve` with one of the compared policies in force: what the replay starts."""

import argparse
import sys
from collections.abc import Sequence

from service.bench.captions.policies import POLICIES, in_force
from tokenspeed.cli import main as run


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; what follows `--policy NAME` goes to `serve`."""
    parser = argparse.ArgumentParser(prog="python -m service.bench.captions.server")
    parser.add_argument("--policy", choices=list(POLICIES), required=True)
    options, rest = parser.parse_known_args(arguments)
    with in_force(POLICIES[options.policy]):
        return run(["serve", *rest])


if __name__ == "__main__":
    sys.exit(main())
