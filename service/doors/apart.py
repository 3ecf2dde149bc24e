"""Reads and writes files in processes of their own, one at a time.

Knows processes; formats are in tokenspeed/documents, what is done to their texts in files.py.
"""

import asyncio
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from typing import Final

import orjson

from service.errors import RestError
from service.load.meter import charge
from tokenspeed.documents.worker import MAX_CPU_S, Question, ask, told

MAX_S: Final = 60.0  # for one file, on a busy machine; its processor time is limited, too
_PROGRAM: Final = ("-m", "tokenspeed.documents.worker")
_OWN: Final = "TOKENSPEED_"  # settings, which are kept from it: they hold keys


async def texts_of(question: Question, data: bytes) -> list[str]:
    """Return the distinct texts of a file, in order.

    Raises:
        RestError: it is not such a file, has too much text, or takes too long.
    """
    return list(orjson.loads(await _asked(question, data)))


async def translated(question: Question, data: bytes) -> bytes:
    """Return a file with the translations of its texts.

    Raises:
        RestError: it cannot be written, or takes too long.
    """
    return await _asked(question, data)


async def _asked(question: Question, data: bytes) -> bytes:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *_PROGRAM,
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,  # tracebacks show texts of users
        env={name: value for name, value in os.environ.items() if not name.startswith(_OWN)},
        start_new_session=True,  # the terminal's signals are for the server, which drains first
    )
    try:
        async with asyncio.timeout(MAX_S):
            written, _ = await process.communicate(ask(question, data))
        answer, found = told(written)
    except (TimeoutError, ValueError) as exc:
        charge(MAX_CPU_S)
        raise RestError(400, f"{question.name}: reading it takes too long", param="file") from exc
    finally:
        await _ended(process)
    charge(answer.cpu_s)
    if answer.problem is not None:
        status = 413 if answer.is_too_long else 400
        raise RestError(status, answer.problem, param="file")
    return found


async def _ended(process: Process) -> None:
    """Make sure that the process has ended, even if the client has gone."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
