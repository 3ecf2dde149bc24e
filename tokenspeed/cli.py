"""The command line: one table of all commands, of which only the chosen one is imported.

Knows each command by its name, its line of help, and the place that adds its arguments. That place
is a string, so that nothing here depends on training, on benchmarks, or on the service.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Final, TypeAlias

import tokenspeed
from tokenspeed.errors import TokenSpeedError

# Name -> line of help, and either "module:function" or the table of a group. The function fills
# the parser of its command and sets the default `run`, which takes the options and returns the
# exit code.
Table: TypeAlias = Mapping[str, tuple[str, "str | Table"]]

_BENCH: Final[Table] = {
    "engine": (
        "measure the time to the first token, ms per token, and the share of the bandwidth",
        "tokenspeed.bench.cli:add_engine",
    ),
    "compare": (
        "measure other engines with the same weights, in turns",
        "tokenspeed.bench.cli:add_compare",
    ),
    "kernels": (
        "time each GPU kernel with cold caches, beside its bytes and cuBLAS",
        "tokenspeed.bench.cli:add_kernels",
    ),
    "report": ("write tables and a plot from result files", "tokenspeed.bench.cli:add_report"),
    "abuse": (
        "measure a speaker beside clients that misbehave, each on its own server",
        "service.bench.load.cli:add_abuse",
    ),
    "overload": (
        "let several times as many speakers connect as are admitted",
        "service.bench.load.cli:add_overload",
    ),
    "soak": (
        "let speakers come, go and come back for minutes, and see what grows",
        "service.bench.load.cli:add_soak",
    ),
    "fleet": (
        "simulate how many cards many speakers need, what fails and what it costs",
        "service.bench.fleet.cli:add_fleet",
    ),
    "host": (
        "measure what updates and steps cost the processor besides the model",
        "service.bench.load.cli:add_host",
    ),
    "ray": (
        "measure the same speakers on one process and on replicas of Ray Serve",
        "service.bench.load.cli:add_ray",
    ),
    "room": (
        "measure how soon many readers of one speaker see a frame",
        "service.bench.load.cli:add_room",
    ),
    "replicas": (
        "kill replicas under speakers and readers of a room, and count what is lost",
        "service.bench.load.cli:add_replicas",
    ),
}
_EVAL: Final[Table] = {
    "quality": (
        "measure BLEU, chrF and prefix consistency on test sets",
        "tokenspeed.bench.quality.cli:add_quality",
    ),
    "text": (
        "check numbers, times, dates, money and technical terms, by kind",
        "tokenspeed.bench.quality.text.cli:add_text",
    ),
    "plain": (
        "measure BLEU of plain text with text hygiene and without",
        "tokenspeed.bench.quality.text.cli:add_plain",
    ),
    "streaming": (
        "measure latency, erased words and quality of live translation, beside baselines",
        "service.bench.captions.cli:add_streaming",
    ),
    "confidence": (
        "measure whether the model's margins commit words earlier than agreement alone",
        "service.bench.captions.cli:add_confidence",
    ),
    "presets": (
        "measure the presets of captions beside others that differ in one setting",
        "service.bench.captions.cli:add_presets",
    ),
    "untouched": (
        "measure live translation with text hygiene and without",
        "service.bench.captions.cli:add_untouched",
    ),
    "retention": (
        "measure term retention: numbers, names, addresses and glossary words that come through",
        "service.bench.captions.cli:add_retention",
    ),
    "capacity": (
        "predict how many speakers a machine holds, by simulation",
        "service.bench.load.cli:add_capacity",
    ),
}
COMMANDS: Final[Table] = {
    "serve": ("start the live translation service", "service.cli:add_serve"),
    "translate": (
        "translate a text, files, or standard input line by line",
        "service.commands.translate:add_translate",
    ),
    "captions": (
        "caption text or speech: in a terminal, in a room, as subtitles",
        "tokenspeed_client.captioning.command:add_captions",
    ),
    "doctor": (
        "check this machine: what was found and what is missing",
        "tokenspeed.commands.doctor:add_doctor",
    ),
    "quantize": (
        "write a model directory in int8 or int4",
        "tokenspeed.commands.quantize:add_quantize",
    ),
    "import": (
        "make a model directory from a GGUF file",
        "tokenspeed.commands.import_gguf:add_import",
    ),
    "loadtest": (
        "let many speakers use a running service, and measure how soon it answers",
        "service.bench.load.cli:add_loadtest",
    ),
    "bench": ("measure this machine, alone or beside other engines", _BENCH),
    "eval": ("measure quality, latency and capacity", _EVAL),
    "train": (
        "train a translation model from a TOML recipe",
        "tokenspeed.training.cli:add_train",
    ),
    "distill": (
        "translate a training corpus with a larger model, for a smaller one to learn",
        "tokenspeed.training.cli:add_distill",
    ),
    "train-mtp": (
        "train a layer that guesses a model's tokens, for steps that make two",
        "tokenspeed.training.cli:add_train_mtp",
    ),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and turn expected errors into one line and exit code 2.

    Args:
        arguments: what follows `tokenspeed`; None takes those of the process.
    """
    try:
        options = parse(sys.argv[1:] if arguments is None else arguments)
        code: int = options.run(options)
        return code
    except TokenSpeedError as exc:
        print(f"tokenspeed: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `tokenspeed translate ... | head`
        sys.stderr.close()
        return 141


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options of the command that the arguments begin with.

    Raises:
        SystemExit: help was asked for, or the arguments are wrong; argparse has printed it.
    """
    names, place = _choose(arguments)
    program = " ".join(("tokenspeed", *names))
    rest = arguments[len(names) :]
    if isinstance(place, str):
        return _command_parser(program, place).parse_args(rest)
    parser = _group_parser(program, place)
    parser.parse_args(rest)
    parser.error("expected a command first")  # `tokenspeed -- translate`: argparse goes on after --


def _choose(arguments: Sequence[str]) -> tuple[list[str], "str | Table"]:
    """Follow the arguments through the tables as far as they are names."""
    names: list[str] = []
    place: str | Table = COMMANDS
    for word in arguments:
        if isinstance(place, str) or word not in place:
            break
        names.append(word)
        place = place[word][1]
    return names, place


def _command_parser(program: str, place: str) -> argparse.ArgumentParser:
    module, _, function = place.partition(":")
    add_arguments: Callable[[argparse.ArgumentParser], None]
    try:
        add_arguments = getattr(import_module(module), function)
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] != "tokenspeed_client":
            raise
        raise TokenSpeedError("the client is not installed: pip install tokenspeed-client") from exc
    parser = argparse.ArgumentParser(prog=program)
    add_arguments(parser)
    return parser


def _group_parser(program: str, table: Table) -> argparse.ArgumentParser:
    """Return a parser whose help lists the commands of a table; it runs none of them."""
    parser = argparse.ArgumentParser(prog=program)
    if table is COMMANDS:
        parser.description = "Live translation of text that is still growing."
        parser.add_argument("--version", action="version", version=tokenspeed.__version__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, (line, _) in table.items():
        commands.add_parser(name, help=line)
    return parser
