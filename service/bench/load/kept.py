"""Where a measurement is kept: in a result file, and in the page that shows it.

Knows the arguments `--json` and `--page`; does not know what was measured.
"""

import argparse
from collections.abc import Sequence
from typing import Any, Final

from tokenspeed.bench.page import put_into_page
from tokenspeed.bench.result import describe_cpu, make_result, write_result

PACKAGES: Final = ("torch", "websockets", "uvicorn")  # whose versions matter to a service


def keep(
    options: argparse.Namespace, rows: Sequence[dict[str, Any]], about: dict[str, Any], table: str
) -> None:
    """Write what was measured of a service, as far as it is asked for.

    Args:
        options: of the command, with `json` and `page`.
        about: what else the result file says, besides machine, versions and rows.
        table: for the page.
    Raises:
        OSError: a file cannot be written.
        ValueError: the page has no place for the table.
    """
    if options.json:
        made = make_result(rows, machine=describe_cpu(), packages=PACKAGES)
        write_result(about | made, options.json)
    if options.page:
        put_into_page(options.page, options.json.name, table)
