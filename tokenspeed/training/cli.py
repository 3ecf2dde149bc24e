"""`tokenspeed train CONFIG`."""

import argparse
from pathlib import Path
from typing import Any

from tokenspeed.training.config import load_recipe
from tokenspeed.training.run import choose_device, train

CONFIGS = Path(__file__).parent / "configs"


def add_parser(subparsers: "argparse._SubParsersAction[Any]") -> None:
    """Add the command `train`."""
    parser = subparsers.add_parser("train", help="train a translation model from a TOML recipe")
    parser.add_argument("config", help="a TOML file, or the name of a shipped one: default, tiny")
    parser.add_argument("--corpus", type=Path, required=True, help="folder of en-xx.train.tsv.xz")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; resumed")
    parser.add_argument("--cache", type=Path, help="folder of alignment and vocabulary")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train; the model lies in OUT/model and OUT/int8 afterwards."""
    path = Path(arguments.config)
    if not path.exists() and (CONFIGS / f"{path.name}.toml").exists():
        path = CONFIGS / f"{path.name}.toml"
    recipe = load_recipe(path)
    device = choose_device() if arguments.device == "auto" else arguments.device
    train(recipe, arguments.corpus, arguments.out, device, arguments.cache)
    print(f"wrote {arguments.out / 'model'} and {arguments.out / 'int8'}")
    return 0
