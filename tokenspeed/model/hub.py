"""A model by its name on the Hugging Face hub: `organisation/model`, optionally with `@revision`.

What is in the cache is used as it is, without asking the network: a service that restarts has the
same weights as before. Otherwise the files that are read here are fetched, all of one commit: no
pickle, no other format, no subfolder. Needs the package `huggingface_hub`, which takes care of the
cache, logging in and HF_ENDPOINT.
"""

import re
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tokenspeed.errors import CheckpointError
from tokenspeed.model.mtp import MTP_FILE

_NAME = re.compile(r"([\w-][\w.-]*/[\w-][\w.-]*?)(?:@([\w.-]+))?")
_BESIDE = (
    *("config.json", "generation_config.json", "tokenizer.json", "tokenizer.model"),
    *("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.jinja", "chat_template.json", "model.safetensors.index.json"),
    *("LICENSE", "LICENSE.txt", "LICENSE.md", MTP_FILE),
)


def local_directory(model: Path) -> Path:
    """Return the directory of a model, fetched first where it is a name on the hub.

    A path that is no such name is returned as it is; so is any name if the package is missing.

    Raises:
        CheckpointError: it cannot be fetched, or holds nothing that is read here.
    """
    name = _NAME.fullmatch(str(model))
    if name is None or model.exists() or model.parent.exists() or not find_spec("huggingface_hub"):
        return model
    return cached(name[1], name[2]) or _fetched(name[1], name[2])


def cached(repository: str, revision: str | None = None) -> Path | None:
    """Return the directory of a model in the cache; None: it is missing or incomplete."""
    from huggingface_hub import try_to_load_from_cache

    # Not asked for as a whole snapshot: newer versions of the library miss the files we left out.
    found = try_to_load_from_cache(repository, "config.json", revision=revision)
    if not isinstance(found, str):
        return None
    directory = Path(found).parent
    return directory if _is_whole(directory) else None


def needed(files: Collection[str]) -> list[str]:
    """Return which files of a repository are read here.

    Raises:
        ValueError: there are no weights among them, or no model.
    """
    if "config.json" not in files:
        is_adapter = "adapter_config.json" in files
        why = "an adapter; merge it into its base model first" if is_adapter else "no model"
        raise ValueError(f"holds no config.json: it is {why}")
    weights = [name for name in files if name.endswith(".safetensors") and "/" not in name]
    if "model.safetensors" in weights:
        weights = ["model.safetensors"]
    elif "model.safetensors.index.json" in files:
        # Some releases contain the same weights twice, under other names.
        weights = [name for name in weights if re.fullmatch(r"model-\d+-of-\d+\.\w+", name)]
    if not weights:
        others = {Path(name).suffix for name in files} & {".gguf", ".bin", ".pt", ".pth"}
        found = f", only {', '.join(sorted(others))}" if others else ""
        raise ValueError(f"holds no *.safetensors{found}: no other weights are fetched")
    return sorted({*weights, *(name for name in files if name in _BESIDE)})


def _fetched(repository: str, revision: str | None) -> Path:
    from huggingface_hub import HfApi, errors, snapshot_download

    place = Path(f"{repository}@{revision}" if revision else repository)
    try:
        info: Any = HfApi().model_info(repository, revision=revision)
        files = needed([sibling.rfilename for sibling in info.siblings or []])
        # By the requested name, so that the cache knows it; its commit is checked below.
        found = snapshot_download(repository, revision=revision, allow_patterns=files)
    except errors.GatedRepoError as exc:
        problem = "is gated: accept its terms on the hub, then log in with `hf auth login`"
        raise CheckpointError(place, problem) from exc
    except errors.RevisionNotFoundError as exc:
        raise CheckpointError(place, f"has no revision {revision!r} on the hub") from exc
    except errors.RepositoryNotFoundError as exc:
        problem = "is neither a directory nor on the hub; for a private one, `hf auth login`"
        raise CheckpointError(place, problem) from exc
    except errors.OfflineModeIsEnabled as exc:
        problem = "is not in the cache, and HF_HUB_OFFLINE keeps it from being fetched"
        raise CheckpointError(place, problem) from exc
    except ValueError as exc:
        raise CheckpointError(place, str(exc)) from exc
    except Exception as exc:  # its versions use different HTTP libraries, each with its own errors
        raise CheckpointError(place, f"cannot be fetched from the hub: {exc}") from exc
    directory = Path(str(found))
    if directory.name != info.sha:
        raise CheckpointError(place, "changed on the hub while it was fetched; try again")
    return directory


def _is_whole(directory: Path) -> bool:
    """Return whether a directory of the cache is complete: a fetch can be interrupted."""
    files = {path.name for path in directory.iterdir()}
    if "config.json" not in files or not files & {"tokenizer.json", "tokenizer.model"}:
        return False
    parts = [re.fullmatch(r"model-\d+-of-(\d+)\.safetensors", name) for name in files]
    counts = [int(part[1]) for part in parts if part]
    if counts:
        return len(counts) == counts[0]
    return any(name.endswith(".safetensors") for name in files)
