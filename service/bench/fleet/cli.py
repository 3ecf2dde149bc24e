"""The command that simulates a fleet: its arguments; the rest is imported when it runs."""

import argparse
from pathlib import Path

from service.bench.captions.cli import measured
from service.bench.load.cli import add_seed
from tokenspeed.arguments import add_page_arguments


def add_fleet(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bench fleet`."""
    parser.add_argument(
        "--peak", type=int, default=1_000_000, help="speakers at the busiest time of the day"
    )
    parser.add_argument(
        "--trough", type=float, default=0.35, help="share of them at the quietest time"
    )
    parser.add_argument(
        "--stay-s",
        type=float,
        default=1200.0,
        help="how long a speaker stays, in seconds, on average",
    )
    parser.add_argument(
        "--cards",
        type=lambda text: text.split(","),
        metavar="A,B",
        help="simulate only these, such as 'llama-3-8b int4' (default: all measured on an H100)",
    )
    parser.add_argument(
        "--card-hour",
        type=float,
        metavar="PRICE",
        help="price of a card for an hour, in any currency: adds costs to the tables",
    )
    parser.add_argument(
        "--seconds", type=float, default=8.0, help="simulated seconds for each number of speakers"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        help="number of exact simulations for comparison, each with its own seed",
    )
    add_seed(parser)
    parser.add_argument(
        "--host",
        type=Path,
        default=Path("benchmarks/results/host.json"),
        metavar="FILE",
        help="a result of `bench host`",
    )
    parser.add_argument(
        "--beside",
        type=Path,
        metavar="FILE",
        help="a result of `loadtest`: simulate the same speakers",
    )
    parser.add_argument(
        "--replicas",
        type=int,
        default=1,
        help="with --beside: the number of replicas that it ran on",
    )
    parser.add_argument(
        "--router",
        default="round-robin",
        help="with --beside: how sessions are routed: least-p95, round-robin or sticky",
    )
    parser.add_argument(
        "--cost",
        metavar="BASE,ROW[,CONTEXT]",
        help="with --beside: what a step costs in ms (default: as in that file)",
    )
    parser.add_argument(
        "--slower",
        type=float,
        default=1.0,
        help="with --beside: how many times slower all is where replicas share cores",
    )
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write the plots to this folder")
    add_page_arguments(parser)
    parser.set_defaults(run=_fleet)


def _fleet(options: argparse.Namespace) -> int:
    from service.bench.fleet.report import fleet_tables, run_fleet

    result = measured(options, run_fleet)
    print(fleet_tables(result))
    return 0
