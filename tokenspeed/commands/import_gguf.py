"""`tokenspeed import FILE.gguf OUT`: make a model directory from a file of llama.cpp."""

import argparse
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tokenspeed.errors import CommandError
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.gguf_import import import_gguf
from tokenspeed.model.tokenizer import Tokenizer


def add_import(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `import`."""
    parser.add_argument("source", type=Path, metavar="FILE.gguf", help="file of the model")
    parser.add_argument("target", type=Path, metavar="OUT", help="directory to write")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if not find_spec("gguf"):
        raise CommandError("import needs gguf: pip install 'tokenspeed-live[gguf]'")
    import_gguf(options.source, options.target, _shown)
    open_checkpoint(options.target)
    Tokenizer.load(options.target)
    print(f"{options.target}: use it as --model, or make it smaller with tokenspeed quantize")
    return 0


def _shown(tensors: list[Any]) -> Iterable[Any]:
    return tqdm(tensors, unit="tensor", disable=None)
