"""`tokenspeed train CONFIG`, `tokenspeed distill` and `tokenspeed train-mtp`."""

import argparse
import math
import time
from pathlib import Path

from tqdm import tqdm

from tokenspeed.errors import told
from tokenspeed.model.mtp import MTP_FILE
from tokenspeed.training.config import load_recipe
from tokenspeed.training.distill import Plan, distill, make_decode
from tokenspeed.training.mtp_run import MtpPlan, train_mtp
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


def add_train_mtp(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `train-mtp`."""
    plan = MtpPlan()
    parser.add_argument("--model", type=Path, required=True, help="directory of the model")
    parser.add_argument("--corpus", type=Path, required=True, help="folder with en-xx.train.tsv.xz")
    parser.add_argument("--out", type=Path, help=f"file of the layer (default: MODEL/{MTP_FILE})")
    parser.add_argument(
        "--languages", default="de,fr,es", help="languages besides English (default: de,fr,es)"
    )
    parser.add_argument(
        "--prompts",
        type=_count,
        default=plan.num_prompts,
        help=f"captions that the model translates, at most (default: {plan.num_prompts})",
    )
    parser.add_argument(
        "--epochs",
        type=_count,
        default=plan.epochs,
        help=f"how often the layer sees each of them, on average (default: {plan.epochs})",
    )
    parser.add_argument(
        "--max-seconds",
        type=float,
        default=plan.max_seconds,
        help="end after so many seconds, with what is learnt by then",
    )
    parser.add_argument(
        "--batch-size",
        type=_count,
        help="texts translated together (default: as many as suit the model and the device)",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="default: a GPU if there is one",
    )
    parser.add_argument(
        "--seed", type=int, default=plan.seed, help=f"of all that is random (default: {plan.seed})"
    )
    parser.set_defaults(run=run_train_mtp)


def run_train_mtp(arguments: argparse.Namespace) -> int:
    """Train a layer that guesses tokens for a model; lying beside it, an engine finds it there."""
    device = choose_device() if arguments.device == "auto" else arguments.device
    out = arguments.out or arguments.model / MTP_FILE
    plan = MtpPlan(arguments.prompts, arguments.epochs, arguments.max_seconds, arguments.seed)
    with told(OSError, ValueError), tqdm(total=plan.num_prompts, unit=" prompts") as bar:

        def report(count: int, state: str) -> None:
            bar.set_postfix_str(state)
            bar.update(count)

        score = train_mtp(
            arguments.model,
            arguments.corpus,
            out,
            plan,
            languages=arguments.languages.split(","),
            device=device,
            batch_size=arguments.batch_size,
            report=report,
        )
    print(f"wrote {out}: on text that was held out, {score}")
    return 0


def _count(text: str) -> int:
    if not (text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)


def _part(text: str) -> tuple[int, int]:
    index, _, parts = text.partition("/")
    if not (index.isdigit() and parts.isdigit() and 1 <= int(index) <= int(parts)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N with I from 1 to N")
    return int(index), int(parts)
