"""Where a measurement is kept: in a result file, and in the page that shows it.

Knows the arguments `--json` and `--page`; does not know what was measured.
"""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tokenspeed.bench.page import put_into_page
from tokenspeed.bench.result import describe_cpu, describe_model, make_result, write_result

# Packages whose versions matter: to a service, and to what scores its translations.
SERVICE: Final = ("torch", "websockets", "uvicorn")
SCORED: Final = ("torch", "numpy", "sacrebleu")


def keep(
    options: argparse.Namespace,
    rows: Sequence[dict[str, Any]],
    table: str,
    *,
    packages: Sequence[str],
    about: Mapping[str, Any] | None = None,
    machine: dict[str, Any] | None = None,
    is_of_model: bool = False,
) -> None:
    """Write what was measured, as far as it is asked for.

    Args:
        options: of the command, with `json` and `page`.
        table: for the page.
        packages: whose versions matter.
        about: what else the result file says, besides machine, versions and rows.
        machine: None: this one's processor.
        is_of_model: whether the file names the weights of `options.model`.
    Raises:
        OSError: a file cannot be read or written.
        ValueError: the page has no place for the table.
    """
    if options.json:
        model = {"model": describe_model(options.model)} if is_of_model else {}
        made = make_result(rows, machine=machine or describe_cpu(), packages=packages)
        write_result({**model, **(about or {}), **made}, options.json)
    if options.page:
        put_into_page(options.page, options.json.name, table)
