"""`tokenspeed train CONFIG` and `tokenspeed distill`."""

import argparse
import math
import time
from pathlib import Path

from tqdm import tqdm

from tokenspeed.errors import told
from tokenspeed.training.config import load_recipe
from tokenspeed.training.distill import Plan, distill, make_decode
from tokenspeed.training.run import choose_device, train

CONFIGS = Path(__file__).parent / "configs"


def add_train(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `train`."""
    parser.add_argument(
        "config", help="a recipe: a TOML file, or the name of a shipped one: default, teacher, tiny"
    )
    parser.add_argument("--corpus", type=Path, required=True, help="folder with en-xx.train.tsv.xz")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the run; a run found there is resumed"
    )
    parser.add_argument(
        "--cache", type=Path, help="folder for lexicons and the vocabulary (default: OUT/cache)"
    )
    parser.add_argument(
        "--init",
        type=Path,
        help="model whose weights a new run begins with, such as the shipped one",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="default: a GPU if there is one",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train; the model lies in OUT/model and OUT/int8 afterwards."""
    path = Path(arguments.config)
    if not path.exists() and (CONFIGS / f"{path.name}.toml").exists():
        path = CONFIGS / f"{path.name}.toml"
    with told(OSError, ValueError):
        recipe = load_recipe(path)
    device = choose_device() if arguments.device == "auto" else arguments.device
    with told(FileNotFoundError):
        train(recipe, arguments.corpus, arguments.out, device, arguments.cache, arguments.init)
    print(f"wrote {arguments.out / 'model'} and {arguments.out / 'int8'}")
    return 0


def add_distill(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `distill`."""
    parser.add_argument("--model", type=Path, required=True, help="directory of the teacher")
    parser.add_argument("--corpus", type=Path, required=True, help="folder with en-xx.train.tsv.xz")
    parser.add_argument("--out", type=Path, required=True, help="folder for the synthetic pairs")
    parser.add_argument(
        "--languages", default="de,fr,es", help="languages besides English (default: de,fr,es)"
    )
    parser.add_argument(
        "--part",
        type=_part,
        default=(1, 1),
        metavar="I/N",
        help="which share of the work this process takes, such as 2/4",
    )
    parser.add_argument(
        "--only",
        choices=("pairs", "mono"),
        help="translate only the sentences of pairs, or only single ones",
    )
    parser.add_argument("--leave-out", nargs="*", default=(), help="names of sources to leave out")
    parser.add_argument(
        "--prefix-share",
        type=float,
        default=0.0,
        help="share of the sentences of which a beginning is translated as well",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="default: a GPU if there is one",
    )
    parser.add_argument("--batch-size", type=int, default=2048, help="texts translated together")
    parser.add_argument(
        "--max-seconds",
        type=float,
        default=math.inf,
        help="stop after so many seconds; what is done by then can be used",
    )
    parser.set_defaults(run=run_distill)


def run_distill(arguments: argparse.Namespace) -> int:
    """Write the synthetic pairs; put them beside the corpus and `tokenspeed train` uses them."""
    device = choose_device() if arguments.device == "auto" else arguments.device
    decode = make_decode(arguments.model, device, arguments.batch_size)
    plan = Plan(
        arguments.languages.split(","),
        has_pairs=arguments.only != "mono",
        has_mono=arguments.only != "pairs",
        left_out=arguments.leave_out,
        prefix_share=arguments.prefix_share,
        part=arguments.part,
    )
    end = time.monotonic() + arguments.max_seconds
    with told(FileNotFoundError), tqdm(unit=" sentences", unit_scale=True) as bar:
        distill(
            arguments.corpus,
            plan,
            decode,
            arguments.out,
            bar.update,
            lambda: time.monotonic() >= end,
        )
    return 0


def _part(text: str) -> tuple[int, int]:
    index, _, parts = text.partition("/")
    if not (index.isdigit() and parts.isdigit() and 1 <= int(index) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 1 to N")
    return int(index), int(parts)
