"""The place of `tokenspeed eval`: the engine adds its parts, and the service its own."""

from typing import Any

Subparsers = Any  # argparse keeps the type of add_subparsers' result private


def eval_commands(commands: Subparsers) -> Subparsers:
    """Return the place for the parts of `eval`, which the first call makes.

    Args:
        commands: the place for commands.
    """
    if "eval" not in commands.choices:
        parser = commands.add_parser("eval", help="measure quality, latency and capacity")
        parts = parser.add_subparsers(metavar="WHAT", required=True)
        parser.set_defaults(eval_parts=parts)
    return commands.choices["eval"].get_default("eval_parts")
