"""Small random models and tokenizers that the tests make for themselves."""

import atexit
import gc
import json
import logging
import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

# The models are tiny: more threads would only wait for each other, and for other tests. Said before
# anything imports numpy, which reads it then.
os.environ["OMP_NUM_THREADS"] = "1"

# Nothing large is imported here: the process that only hands out tests to workers reads this too,
# and they wait for it.


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist, which a GPU machine may lack
def pytest_xdist_auto_num_workers() -> int:
    """With `--numprocesses auto`: two for a core, as tests wait for servers and browsers."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Look for no garbage among modules and tests, which stay, neither now nor as tests run."""
    if not session.config.pluginmanager.has_plugin("dsession"):  # whose tests workers run
        _prepare()
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        # Else libraries tell of what they leak. Not before: pytest looks for garbage as it ends.
        atexit.register(gc.unfreeze)
        gc.enable()


def _prepare() -> None:
    """Set what goes for this process, and for those that tests start."""
    import torch
    from hypothesis import settings

    # Kernels run on Triton's interpreter where there is no GPU. Said before anything imports
    # Triton, which transformers does too.
    if not torch.cuda.is_available():
        os.environ["TRITON_INTERPRET"] = "1"
    torch.set_num_threads(1)  # also where something imported it before
    settings.register_profile("tests", deadline=None)  # a busy machine is no failure
    settings.load_profile("tests")


@pytest.fixture(autouse=True)
def _logs_go_where_they_went() -> Iterator[None]:
    """A test that runs `serve` sends logs to what is standard error for as long as it runs."""
    from service.logs import JsonFormatter

    yield
    root = logging.getLogger()
    root.handlers[:] = [h for h in root.handlers if not isinstance(h.formatter, JsonFormatter)]


SENTENCES = [
    "The train to the city leaves in ten minutes.",
    "Please tell me where the next station is.",
    "We are going to the mountains tomorrow morning.",
    "Der Zug in die Stadt fährt in zehn Minuten ab.",
    "Bitte sagen Sie mir, wo der nächste Bahnhof ist.",
    "Le train pour la ville part dans dix minutes.",
    "El tren a la ciudad sale en diez minutos.",
]

TINY = {
    "model_type": "llama",
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 256,
    "tie_word_embeddings": True,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

MakeModel = Callable[..., Path]


@pytest.fixture(scope="session")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    """Return a function that writes a random checkpoint; keywords change its config.json.

    With `is_brief`, the last token comes after a few others; else hardly ever.
    """
    import torch
    from safetensors.torch import save_file

    from tokenspeed.model.families import load_model_config
    from tokenspeed.model.weights import weight_shapes

    def make(*, seed: int = 0, is_brief: bool = False, **changes: Any) -> Path:
        directory = tmp_path_factory.mktemp("model")
        config = TINY | changes
        (directory / "config.json").write_text(json.dumps(config), encoding="utf-8")
        generator = torch.Generator().manual_seed(seed)
        tensors = {}
        model = load_model_config(directory)
        for name, shape in weight_shapes(model).items():
            noise = torch.randn(shape, generator=generator)
            # Large enough that attention and the choice of a token really depend on the input.
            tensors[name] = noise * shape[-1] ** -0.5 * 2 if len(shape) == 2 else 1 + 0.1 * noise
        if is_brief:
            tensors["model.embed_tokens.weight"][list(model.eos_token_ids)] *= 2.5
        save_file(tensors, directory / "model.safetensors")
        return directory

    return make


@pytest.fixture(scope="session")
def tiny_model(make_model: MakeModel) -> Path:
    return make_model()


@pytest.fixture(scope="session")
def sentencepiece_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocabulary of 400 pieces with byte fallback and the marks of the default model."""
    import sentencepiece

    directory = tmp_path_factory.mktemp("vocabulary")
    text = directory / "text.txt"
    text.write_text("\n".join(SENTENCES * 4), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(text),
        model_prefix=str(directory / "tokenizer"),
        vocab_size=400,
        byte_fallback=True,
        hard_vocab_limit=False,
        control_symbols=[
            *(f"<{language}>" for language in ("auto", "en", "de", "fr", "es")),
            "<open>",
            "<formal>",
            "<informal>",
        ],
        minloglevel=2,
    )
    return directory / "tokenizer.model"


@pytest.fixture(scope="session")
def tiny_translator(make_model: MakeModel, sentencepiece_model: Path) -> Path:
    """A random model with a vocabulary and the marks prompt: says nonsense, but all of the way."""
    return _translator(make_model, sentencepiece_model)


@pytest.fixture(scope="session")
def brief_translator(make_model: MakeModel, sentencepiece_model: Path) -> Path:
    """Another, whose texts end after a few words, as translations do."""
    return _translator(make_model, sentencepiece_model, is_brief=True)


def _translator(make_model: MakeModel, vocabulary: Path, **how: Any) -> Path:
    import sentencepiece

    size = sentencepiece.SentencePieceProcessor(model_file=str(vocabulary)).vocab_size()
    pairs = [["en", other] for other in ("de", "fr", "es")]
    pairs += [[b, a] for a, b in pairs]
    prompt = {"prompt": "marks", "pairs": pairs}
    directory = make_model(vocab_size=size, tokenspeed=prompt, **how)
    (directory / "tokenizer.model").write_bytes(vocabulary.read_bytes())
    return directory
