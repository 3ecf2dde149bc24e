"""The commands that measure how much load the service bears, and what it does beyond that.

Only their arguments: the rest is imported when one runs, so that other commands start fast.
"""

import argparse

from service.bench.captions.cli import add_words_per_minute, measured
from service.errors import ServiceError
from tokenspeed.arguments import (
    add_json_argument,
    add_model_arguments,
    add_page_arguments,
    counts,
)
from tokenspeed.errors import told


def add_capacity(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eval capacity`."""
    parser.add_argument(
        "--cost",
        metavar="BASE,ROW[,CONTEXT]",
        help="what a step costs in ms: by itself, for each row, for each position of a row; "
        "without it, the model's steps are measured on this machine",
    )
    _add_speech(parser, seconds=20.0)
    parser.add_argument(
        "--max-sessions", type=int, default=1024, help="the most sessions to simulate"
    )
    add_words_per_minute(parser)
    _add_overhead(parser)
    add_seed(parser)
    add_model_arguments(parser)
    add_json_argument(parser)
    parser.set_defaults(run=_capacity)


def _capacity(options: argparse.Namespace) -> int:
    from service.bench.load.capacity import capacity_table, predict_capacity

    with told(OSError, ValueError):
        prediction = predict_capacity(options)
    print(capacity_table(prediction))
    return 0


def add_loadtest(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `loadtest`."""
    parser.add_argument("--url", default="ws://127.0.0.1:8000", help="address of the service")
    _add_levels(
        parser, "sessions", [1, 4, 8, 16], "numbers of sessions at the same time", seconds=20.0
    )
    _add_source(parser)
    parser.add_argument(
        "--to", dest="target", default="de", metavar="LANG", help="language to translate into"
    )
    parser.add_argument(
        "--stability",
        default="balanced",
        choices=["low", "balanced", "high"],
        help="preset of the sessions",
    )
    parser.add_argument("--append-only", action="store_true", help="use the mode append_only")
    add_words_per_minute(parser)
    _add_budget(parser)
    parser.add_argument("--api-key", help="default: the variable TOKENSPEED_API_KEY")
    parser.add_argument(
        "--allow-remote", action="store_true", help="allow a service that is not on this machine"
    )
    parser.add_argument(
        "--cost",
        metavar="BASE,ROW[,CONTEXT]",
        help="what a step costs in ms, as `eval capacity` measures it: also predict the results",
    )
    _add_overhead(parser)
    parser.add_argument(
        "--unverified",
        action="store_true",
        help="predict for a service that does not verify drafts",
    )
    add_page_arguments(parser)
    parser.set_defaults(run=_loadtest)


def _loadtest(options: argparse.Namespace) -> int:
    from service.bench.load.loadtest import describe, run_load_test

    levels = measured(options, run_load_test)
    print(describe(levels, options.budget_ms))
    return 1 if any(level.failures for level in levels) else 0


def add_abuse(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bench abuse`."""
    parser.add_argument(
        "--attacks",
        metavar="A,B",
        help="comma-separated (default: all, and a speaker alone for comparison)",
    )
    parser.add_argument("--seconds", type=float, default=8.0, help="seconds of each attack")
    add_model_arguments(parser)
    add_page_arguments(parser)
    parser.set_defaults(run=_abuse)


def _abuse(options: argparse.Namespace) -> int:
    from service.bench.load.abuse import abuse_table, run_abuse

    rows = measured(options, run_abuse)
    print(abuse_table(rows))
    return 1 if any(row["victim_lost"] for row in rows) else 0


def add_overload(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bench overload`."""
    parser.add_argument(
        "--times",
        type=int,
        default=4,
        help="how many times as many speakers as are admitted (default: 4)",
    )
    _add_speech(parser, seconds=30.0)
    add_words_per_minute(parser)
    parser.add_argument(
        "--max-speakers", type=int, default=200, help="the most speakers that try to connect"
    )
    add_model_arguments(parser)
    add_page_arguments(parser)
    parser.set_defaults(run=_overload)


def _overload(options: argparse.Namespace) -> int:
    from service.bench.load.overload import overload_table, run_overload

    rows = measured(options, run_overload)
    print(overload_table(rows))
    return 1 if any(row["finals_lost"] or row["finals_late"] for row in rows) else 0


def add_soak(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bench soak`."""
    parser.add_argument("--minutes", type=int, default=10, help="length of the run")
    parser.add_argument(
        "--minute-s",
        type=float,
        default=60.0,
        help="length of a minute in seconds, for a shorter run",
    )
    parser.add_argument("--speakers", type=int, default=6, help="speakers at the same time")
    add_seed(parser)
    add_model_arguments(parser)
    add_page_arguments(parser)
    parser.set_defaults(run=_soak)


def _soak(options: argparse.Namespace) -> int:
    from service.bench.load.soak import run_soak, soak_table

    rows = measured(options, run_soak)
    print(soak_table(rows))
    return 1 if any(row["finals_lost"] for row in rows) else 0


def add_ray(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bench ray`."""
    parser.add_argument(
        "--replicas",
        type=counts,
        default=[1, 2, 3],
        metavar="N,N",
        help="numbers of replicas to measure, after a single process",
    )
    _add_levels(
        parser, "sessions", [1, 4, 8, 16, 32], "numbers of sessions at the same time", seconds=15.0
    )
    parser.add_argument(
        "--cpus-per-replica", type=float, default=1.0, metavar="C", help="cores reserved for each"
    )
    add_words_per_minute(parser)
    _add_budget(parser)
    add_model_arguments(parser)
    add_page_arguments(parser)
    parser.set_defaults(run=_ray)


def _ray(options: argparse.Namespace) -> int:
    from service.bench.load.on_ray import ray_table, run_on_ray

    rows = measured(options, run_on_ray)
    print(ray_table(rows, options.budget_ms))
    return 1 if any(row["failed_sessions"] for row in rows) else 0


def add_room(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bench room`."""
    _add_levels(parser, "readers", [10, 100, 1000], "numbers of readers of one room", seconds=20.0)
    _add_source(parser)
    parser.add_argument(
        "--to",
        dest="targets",
        type=lambda text: text.split(","),
        default=["de", "fr", "es"],
        metavar="A,B",
        help="languages, shared out among the readers",
    )
    add_words_per_minute(parser)
    add_model_arguments(parser)
    add_page_arguments(parser)
    parser.set_defaults(run=_room)


def _room(options: argparse.Namespace) -> int:
    from service.bench.load.readers import room_table, run_room_test

    found = measured(options, run_room_test)
    print(room_table(found))
    return 1 if any(heard.lost for heard in found) else 0


def add_replicas(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bench replicas`."""
    parser.add_argument(
        "--redis",
        default="",
        metavar="URL",
        help="Redis that the replicas share; `own` starts one, which the strike `redis` needs",
    )
    parser.add_argument("--replicas", type=int, default=2, help="number of replicas")
    parser.add_argument("--speakers", type=int, default=4, help="speakers in one room")
    parser.add_argument("--viewers", type=int, default=12, help="readers of the same room")
    _add_speech(parser, seconds=20.0)
    parser.add_argument(
        "--strikes",
        type=lambda text: [kind for kind in text.split(",") if kind],
        default=["kill"],
        metavar="A,B",
        help="what happens to replicas in turn: kill (SIGKILL), or pause (SIGSTOP until "
        "their clients have left, then SIGCONT); or redis: it is killed, and comes back empty",
    )
    _add_source(parser)
    parser.add_argument(
        "--to",
        dest="targets",
        type=lambda text: text.split(","),
        default=["de"],
        metavar="A,B",
        help="target languages of the speakers, shared out among the viewers",
    )
    add_words_per_minute(parser)
    add_model_arguments(parser)
    add_page_arguments(parser)
    parser.set_defaults(run=_replicas)


def _replicas(options: argparse.Namespace) -> int:
    from service.bench.load.replicas import FAULTS, replicas_table, run_replicas

    found = measured(options, run_replicas)
    print(replicas_table(found))
    return 1 if any(found.faults[name] for name in FAULTS) else 0


def add_host(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `bench host`."""
    _add_levels(
        parser, "speakers", [4, 16, 32], "numbers of speakers at the same time", seconds=20.0
    )
    add_words_per_minute(parser)
    add_model_arguments(parser)
    add_json_argument(parser)
    parser.set_defaults(run=_host)


def _host(options: argparse.Namespace) -> int:
    from service.bench.load.host import host_table, run_host

    with told(ServiceError, OSError, ValueError):
        loops, steps = run_host(options)
    print(host_table(loops, steps))
    return 0


# Arguments that several commands have.


def add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=0, help="seed of what is random")


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from", dest="source", default="en", metavar="LANG", help="language that is spoken"
    )


def _add_levels(
    parser: argparse.ArgumentParser, what: str, default: list[int], about: str, seconds: float
) -> None:
    """Add how many of something to measure at one time, and for how long."""
    parser.add_argument(f"--{what}", type=counts, default=default, metavar="N,N", help=about)
    parser.add_argument(
        "--seconds",
        type=float,
        default=seconds,
        help=f"seconds of measuring for each number of {what}",
    )


def _add_speech(parser: argparse.ArgumentParser, seconds: float) -> None:
    parser.add_argument(
        "--seconds", type=float, default=seconds, help="seconds that each speaker speaks"
    )


def _add_budget(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--budget-ms", type=float, default=200.0, help="updates that take longer count as late"
    )


def _add_overhead(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--overhead-ms",
        type=float,
        default=0.0,
        help="what an update costs besides the steps of the model, in ms",
    )
