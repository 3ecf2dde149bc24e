"""Arguments that several commands share."""

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import Final

from tokenspeed.errors import CommandError
from tokenspeed.model.config import DEFAULT_MODEL

# The backends of `engine.loading`, repeated so that printing help need not import them.
DEVICES: Final = ("auto", "reference", "cpu", "torch-int8", "cuda")


def add_model_arguments(parser: ArgumentParser) -> None:
    """Add --model and --device."""
    add_model_argument(parser)
    add_device_argument(parser, default="auto")


def add_device_argument(parser: ArgumentParser, default: str | None = None) -> None:
    """Add --device."""
    parser.add_argument(
        "--device",
        type=device,
        default=default,
        help=f"{', '.join(DEVICES)} (default: auto), or cuda:0,1 for GPUs that share the model",
    )


def device(text: str) -> str:
    """Check the name of a device; for use as an argument's `type`."""
    name, colon, numbers = text.partition(":")
    if name not in DEVICES or (colon and name != "cuda"):
        raise ArgumentTypeError(f"{text!r}: expected {', '.join(DEVICES)}, or cuda:0,1")
    if colon and (text.count(",") == 0 or not all(n.isdecimal() for n in numbers.split(","))):
        raise ArgumentTypeError(
            f"{text!r}: expected two or more GPUs, such as cuda:0,1; for a single one, set "
            "CUDA_VISIBLE_DEVICES and use cuda"
        )
    return text


def add_model_argument(parser: ArgumentParser) -> None:
    """Add --model."""
    parser.add_argument(
        "--model",
        type=Path,
        default=DEFAULT_MODEL,
        metavar="DIR",
        help="a directory in Hugging Face's form, or a name on its hub, organisation/model or "
        "organisation/model@revision (default: the shipped model)",
    )


def add_profile_argument(parser: ArgumentParser) -> None:
    """Add --profile."""
    parser.add_argument(
        "--profile",
        type=Path,
        metavar="FILE.toml",
        help="prompt format and languages of the model (default: the profile that recognises it)",
    )


def counts(text: str) -> list[int]:
    """Read comma-separated whole numbers, each at least 1; for use as an argument's `type`."""
    parts = [int(part) if part.isdecimal() else 0 for part in text.split(",")]
    if min(parts) < 1:
        raise ArgumentTypeError(f"{text!r}: expected numbers such as 1,4,8")
    return parts


def positive(text: str) -> int:
    """Read one whole number, at least 1; for use as an argument's `type`."""
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r}: expected a whole number, at least 1")
    return int(text)


def gpu_numbers(text: str) -> list[int]:
    """Return the GPUs that a checked device names: [0, 1] of "cuda:0,1", none of the others."""
    _, _, numbers = text.partition(":")
    return [int(number) for number in numbers.split(",")] if numbers else []


def add_json_argument(parser: ArgumentParser) -> None:
    """Add --json."""
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write the result to this file"
    )


def add_page_arguments(parser: ArgumentParser) -> None:
    """Add --json and --page."""
    add_json_argument(parser)
    parser.add_argument(
        "--page",
        type=Path,
        metavar="FILE.md",
        help="insert the tables into this page, between its marks for the file of --json",
    )


def check_page(options: Namespace) -> None:
    """Refuse --page without --json, whose file the page's marks name, before measuring anything.

    Raises:
        CommandError: --page without --json.
    """
    if options.page and not options.json:
        raise CommandError("--page needs --json")
