"""`tokenspeed serve` with the presets of a policy, for the socket replay."""

import argparse
import sys
from collections.abc import Sequence

from service.bench.captions.policies import POLICIES, presets_of
from service.cli import serve
from tokenspeed.cli import parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal; what follows `--policy NAME` goes to `serve`."""
    parser = argparse.ArgumentParser(prog="python -m service.bench.captions.server")
    parser.add_argument("--policy", choices=list(POLICIES), required=True)
    options, rest = parser.parse_known_args(arguments)
    return serve(parse(["serve", *rest]), presets_of(POLICIES[options.policy]))


if __name__ == "__main__":
    sys.exit(main())
