"""The CPU backend: the whole ragged step in one native call, int8 or int4 weights, without the GIL.

A thin layer over tokenspeed/native: loads the library, hands the weights over, checks what it
passes. Weights that a checkpoint stores as int8, or as int4 in groups of whole blocks, keep their
own scales; others are quantised here, to int8 with a scale for each block of a row.
"""

import ctypes
import importlib.machinery
import os
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from tokenspeed.backends import Step
from tokenspeed.errors import BackendUnavailable
from tokenspeed.model.checkpoint import Checkpoint
from tokenspeed.model.config import EngineConfig, ModelConfig
from tokenspeed.model.llama import rotation_tables
from tokenspeed.model.quantize import quantize_int8
from tokenspeed.model.weights import (
    ATTENTION_OUT_NORM,
    EMBEDDING,
    FUSED,
    INPUT_NORM,
    K_NORM,
    MLP_OUT_NORM,
    NORM,
    POST_NORM,
    Q_NORM,
    head_weight,
    layer_bias,
    layer_shapes,
    layer_weight,
)

BLOCK = 64  # columns that share a scale; kBlock of native/kernels.h
# Where the keys and values of one position exceed this in float32, they are kept in float16: they
# would soon need more memory than the weights. native/README.md says what that costs.
MAX_POSITION_BYTES = 32 << 10
NATIVE = Path(__file__).parent.parent / "native"

# In the order of the native library.
_NORMS_BEFORE = (INPUT_NORM, POST_NORM)
_MORE_NORMS = (ATTENTION_OUT_NORM, MLP_OUT_NORM, Q_NORM, K_NORM)


class _Shape(ctypes.Structure):
    """`tokenspeed::Shape` of native/step.h."""

    _fields_ = [
        *(
            (name, ctypes.c_int32)
            for name in (
                "vocab_size",
                "hidden_size",
                "intermediate_size",
                "num_layers",
                "num_heads",
                "num_kv_heads",
                "head_dim",
                "num_slots",
                "max_length",
                "max_rows",
                "num_threads",
                "tied",
                "bits",
            )
        ),
        ("rms_norm_eps", ctypes.c_float),
        ("head_bits", ctypes.c_int32),
        ("fine", ctypes.c_int32),
        ("half_cache", ctypes.c_int32),
    ]


class _Switches(ctypes.Structure):
    """`tokenspeed::Switches` of native/step.h."""

    _fields_ = [
        *(
            (name, ctypes.c_int32)
            for name in ("qk_norm", "qk_norm_rotated", "gelu", "norms_after", "num_ropes")
        ),
        *(
            (name, ctypes.c_float)
            for name in (
                "attention_scale",
                "attention_softcap",
                "logit_softcap",
                "embedding_scale",
            )
        ),
    ]


class CpuBackend:
    """Runs steps in native code.

    Args:
        checkpoint: an opened model directory.
        config: slots and their length; allocated here, once.
        bits: of the layers' matrices: 8, or 4 with one scale for 64 columns of a row. Default: as
            stored, or 8 if stored in another form. If given, a tied head has 8 nevertheless.
        threads: their number; default: config.num_threads, or the cores this process may use.
        isa: "avx512", "avx2" or "plain"; default: the best that the processor has.
        cache_bits: of keys and values: 32 or 16; default: by `default_cache_bits`.
    Raises:
        BackendUnavailable: the native library was not built, lacks what was asked for, or slots
            are longer than the model's window.
        CheckpointError: a tensor is missing, unreadable, or holds NaN or infinity.
    """

    name = "cpu"
    was_ahead = False
    guessed = None

    def __init__(
        self,
        checkpoint: Checkpoint,
        config: EngineConfig,
        *,
        bits: int | None = None,
        threads: int | None = None,
        isa: str = "",
        cache_bits: int | None = None,
    ) -> None:
        if bits not in (None, 4, 8):
            raise ValueError(f"bits is {bits}, expected 4 or 8")
        if cache_bits not in (None, 16, 32):
            raise ValueError(f"cache_bits is {cache_bits}, expected 16 or 32")
        library = _library()
        if library is None:
            raise BackendUnavailable(f"the CPU backend needs its native library: {_MISSING}")
        model = checkpoint.config
        config.check(model)
        self.config = model
        self.bits, self._head_bits = _choose_bits(checkpoint, bits)
        self.is_fine = self.bits == 8 and is_fine(checkpoint)
        self.num_slots = config.num_slots
        self.max_length = config.max_length
        self.max_step_tokens = config.max_step_tokens
        self.num_threads = threads or config.num_threads or usable_cores()
        self._library = library
        self.cache_bits = cache_bits or default_cache_bits(model)
        forms = {"bits": self.bits, "head_bits": self._head_bits, "fine": self.is_fine}
        forms["half_cache"] = self.cache_bits == 16
        self._model: int | None = library.tokenspeed_create(
            ctypes.byref(_shape(model, config, self.num_threads, **forms)),
            isa.encode(),
        )
        if not self._model:
            raise BackendUnavailable(
                f"no memory for {config.num_slots} slots of {config.max_length} positions, or this "
                f"processor has no {isa or 'supported'} instructions"
            )
        if library.tokenspeed_switch_on(self._model, ctypes.byref(_switches(model))):
            raise BackendUnavailable("no memory for the widest step")
        self.isa = library.tokenspeed_isa(self._model).decode()
        self.cache_bytes = library.tokenspeed_cache_bytes(self._model)
        self.weight_bytes = self._load(checkpoint)

    def step(self, batch: Step) -> NDArray[np.int32]:
        """Run one step; see `Backend.step`."""
        return self._step(batch, None)

    def logits(self, batch: Step) -> NDArray[np.float32]:
        """Run one step; see `Backend.logits`."""
        logits = np.empty((len(batch.outputs), self.config.vocab_size), np.float32)
        self._step(batch, logits)
        return logits

    def copy_slot(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` positions of one slot to another."""
        self._library.tokenspeed_copy_slot(self._model, source, target, length)

    def hold(self, is_held: bool) -> None:
        """No step begins before it is asked for."""

    def close(self) -> None:
        """End the threads and free the memory."""
        if self._model:
            self._library.tokenspeed_destroy(self._model)
            self._model = None

    def __del__(self) -> None:
        # A constructor that raised has no model yet.
        if getattr(self, "_model", None):
            self.close()

    def _step(self, batch: Step, logits: NDArray[np.float32] | None) -> NDArray[np.int32]:
        assert self._model, "the backend is closed"
        rows, outputs = len(batch.tokens), len(batch.outputs)
        # The native code trusts its indices, so a wrong one must not reach it.
        assert 0 < rows <= self.max_step_tokens, f"{rows} rows"
        _check(batch.tokens, self.config.vocab_size, "tokens")
        _check(batch.slots, self.num_slots, "slots")
        _check(batch.positions, self.max_length, "positions")
        _check(batch.outputs, rows, "outputs")
        next_tokens = np.empty(outputs, np.int32)
        self._library.tokenspeed_step(
            self._model,
            rows,
            _address(batch.tokens),
            _address(batch.slots),
            _address(batch.positions),
            outputs,
            _address(batch.outputs),
            _address(batch.drafts),
            _address(batch.biases),
            _address(next_tokens),
            None if logits is None else _address(logits),
        )
        return next_tokens

    def _load(self, checkpoint: Checkpoint) -> int:
        """Hand the weights over; return the bytes that a step reads."""
        library = self._library
        read = sum(self._load_layer(checkpoint, i) for i in range(self.config.num_layers))
        take = int8_blocks if self.is_fine else _WEIGHT[self._head_bits]
        q, scale = take(checkpoint, head_weight(self.config))
        norm = checkpoint.weight(NORM).contiguous()
        library.tokenspeed_set_head(self._model, q.data_ptr(), scale.data_ptr(), norm.data_ptr())
        read += q.nbytes * self._head_bits // 8 + scale.nbytes
        if not self.config.tie_word_embeddings:
            q, scale = int8_weight(checkpoint, EMBEDDING)
            library.tokenspeed_set_embedding(self._model, q.data_ptr(), scale.data_ptr())
        cos, sin = rotation_tables(self.config, self.max_length)
        library.tokenspeed_set_rotation(self._model, cos.data_ptr(), sin.data_ptr())
        library.tokenspeed_trim()
        return read

    def _load_layer(self, checkpoint: Checkpoint, layer: int) -> int:
        library, model, read = self._library, self._model, 0
        for which, (matrix, names) in enumerate(FUSED.items()):  # the library's order as well
            take = int8_blocks if self.is_fine else _WEIGHT[self.bits]
            parts = [take(checkpoint, layer_weight(layer, n)) for n in names]
            q = torch.cat([part[0] for part in parts]).contiguous()
            scale = torch.cat([part[1] for part in parts]).contiguous()
            library.tokenspeed_set_matrix(
                model, layer, which, q.data_ptr(), scale.data_ptr(), *q.shape
            )
            read += q.nbytes * self.bits // 8 + scale.nbytes
            if matrix in self.config.biases:
                bias = torch.cat([checkpoint.weight(layer_bias(layer, name)) for name in names])
                library.tokenspeed_set_bias(model, layer, which, bias.data_ptr())
        held = layer_shapes(self.config)
        norms = {
            part: checkpoint.weight(layer_weight(layer, part)).contiguous()
            for part in (*_NORMS_BEFORE, *_MORE_NORMS)
            if part in held
        }
        places = {part: norm.data_ptr() for part, norm in norms.items()}
        library.tokenspeed_set_norms(model, layer, *map(places.get, _NORMS_BEFORE))
        library.tokenspeed_set_more_norms(model, layer, *map(places.get, _MORE_NORMS))
        library.tokenspeed_set_rope(model, layer, self.config.rope_of(layer))
        return read


def int8_weight(checkpoint: Checkpoint, name: str) -> tuple[Tensor, Tensor]:
    """Return a matrix as int8 [out, in] and its scales [out] float32.

    A matrix stored as int8 with a scale for each row keeps its values and scales.

    Raises:
        CheckpointError: it is missing, unreadable, or holds NaN or infinity.
    """
    if checkpoint.forms[name].bits == 8:
        q, scale = checkpoint.integers(name)
        if scale.shape[1] == 1:
            return q.contiguous(), scale.flatten().float().contiguous()
    q, scale = quantize_int8(checkpoint.weight(name))
    return q.contiguous(), scale.flatten().float().contiguous()


def int8_blocks(checkpoint: Checkpoint, name: str) -> tuple[Tensor, Tensor]:
    """Return a matrix as int8 [out, in] and scales of its blocks of columns, [out, blocks] float32.

    A matrix stored in integers keeps its values and scales where each scale covers whole blocks.

    Raises:
        CheckpointError: it is missing, unreadable, or holds NaN or infinity.
    """
    if checkpoint.forms[name].group:
        q, scale = checkpoint.integers(name)
        blocks, groups = -(-q.shape[1] // BLOCK), scale.shape[1]
        if groups == 1 or q.shape[1] // groups % BLOCK == 0:
            return q.contiguous(), scale.float().repeat_interleave(blocks // groups, 1)
    weight = checkpoint.weight(name)
    columns = weight.shape[1]
    q, scale = quantize_int8(pad(weight, (0, -columns % BLOCK)).reshape(-1, BLOCK))
    return q.view(len(weight), -1)[:, :columns].contiguous(), scale.view(len(weight), -1)


def is_fine(checkpoint: Checkpoint) -> bool:
    """Return whether int8 runs in its finer form, with a scale for each block of columns.

    A checkpoint stored as int8 with a scale for each row is run as it is, which is faster.
    """
    layers = range(checkpoint.config.num_layers)
    for part, shape in layer_shapes(checkpoint.config).items():
        if len(shape) == 2:
            forms = [checkpoint.forms[layer_weight(i, part)] for i in layers]
            if any(form.bits != 8 or form.group != shape[1] for form in forms):
                return True
    return False


def default_cache_bits(model: ModelConfig) -> int:
    """Return the bits of keys and values: 32, or 16 where a position has too many of them."""
    values = 2 * model.num_layers * model.num_kv_heads * model.head_dim
    return 32 if 4 * values <= MAX_POSITION_BYTES else 16


def int4_weight(checkpoint: Checkpoint, name: str) -> tuple[Tensor, Tensor]:
    """Return a matrix as int4 in int8 [out, in] and its scales [out, blocks] float32.

    A matrix stored as int4 in groups of whole blocks keeps its values and scales. Otherwise the
    value of largest magnitude in a block becomes -8, whatever its sign.

    Raises:
        CheckpointError: it is missing, unreadable, or holds NaN or infinity.
    """
    weight = checkpoint.weight(name)
    columns = weight.shape[1]
    if group := _whole_blocks(checkpoint, name):
        q, scale = checkpoint.integers(name)
        return q.contiguous(), scale.float().repeat_interleave(group // BLOCK, 1).contiguous()
    blocks = pad(weight, (0, -columns % BLOCK)).reshape(len(weight), -1, BLOCK)
    largest = blocks.gather(2, blocks.abs().argmax(2, keepdim=True))
    scale = torch.where(largest == 0, 1.0, largest / -8)
    q = (blocks / scale).round().clamp(-8, 7).to(torch.int8).view(len(weight), -1)
    return q[:, :columns].contiguous(), scale[..., 0].contiguous()


_WEIGHT = {8: int8_weight, 4: int4_weight}


def _choose_bits(checkpoint: Checkpoint, bits: int | None) -> tuple[int, int]:
    """Return the bits of the layers' matrices and of the head.

    Whoever wrote the checkpoint chose what to keep in more than 4 bits; that is reduced only where
    `bits` asks for it.
    """
    config = checkpoint.config
    if bits:
        return bits, 8 if config.tie_word_embeddings else bits
    layers = range(config.num_layers)
    names = [layer_weight(i, part) for i in layers for parts in FUSED.values() for part in parts]
    if not all(_whole_blocks(checkpoint, name) for name in names):
        return 8, 8
    return 4, 4 if _whole_blocks(checkpoint, head_weight(config)) else 8


def _whole_blocks(checkpoint: Checkpoint, name: str) -> int:
    """Return how many columns share a scale; 0 unless these are whole blocks of int4."""
    form = checkpoint.forms[name]
    return 0 if form.bits != 4 or form.group % BLOCK else form.group


def native_available() -> tuple[bool, str]:
    """Return whether the native library can be used, and its file name or why not."""
    path = _library_path()
    if path is None:
        return False, _MISSING
    if _library():
        return True, path.name
    return False, f"{path.name} cannot be loaded, or was built from other sources"


def read_bandwidth(num_bytes: int, threads: int, seconds: float = 0.5) -> float | None:
    """Measure how fast this machine reads a buffer of this size: bytes/s; None if it cannot."""
    library = _library()
    measured = library.tokenspeed_read_bandwidth(num_bytes, threads, seconds) if library else 0.0
    return measured or None


def usable_cores() -> int:
    """Return how many cores this process may keep busy: affinity and the cgroup's quota."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(cores or 1, *_quotas()))


def _quotas() -> Iterator[int]:
    """Yield the whole cores that a container's quota allows, if there is one."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        if quota != "max":
            yield max(1, int(quota) // int(period))
    except (OSError, ValueError):
        pass  # no cgroup version 2 here
    yield 1 << 16


_MISSING = (
    "it was not built at installation, or from other sources; install a C++ compiler and reinstall "
    "the package"
)


def _library_path() -> Path | None:
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = NATIVE / f"_step{suffix}"
        if path.exists():
            return path
    return None


@lru_cache(maxsize=1)
def _library() -> Any:
    path = _library_path()
    if path is None:
        return None
    try:
        library = ctypes.CDLL(str(path))
        if library.tokenspeed_shape_bytes() != ctypes.sizeof(_Shape):
            return None
    except (OSError, AttributeError):  # also where it was built from older sources
        return None
    pointer, integer = ctypes.c_void_p, ctypes.c_int
    library.tokenspeed_create.restype = pointer
    library.tokenspeed_create.argtypes = [pointer, ctypes.c_char_p]
    library.tokenspeed_destroy.argtypes = [pointer]
    library.tokenspeed_destroy.restype = None
    library.tokenspeed_isa.restype = ctypes.c_char_p
    library.tokenspeed_isa.argtypes = [pointer]
    library.tokenspeed_set_matrix.argtypes = [
        pointer,
        *[integer] * 2,
        *[pointer] * 2,
        *[integer] * 2,
    ]
    library.tokenspeed_switch_on.argtypes = [pointer, pointer]
    library.tokenspeed_set_norms.argtypes = [pointer, integer, pointer, pointer]
    library.tokenspeed_set_more_norms.argtypes = [pointer, integer, *[pointer] * 4]
    library.tokenspeed_set_bias.argtypes = [pointer, integer, integer, pointer]
    library.tokenspeed_set_rope.argtypes = [pointer, integer, integer]
    library.tokenspeed_set_head.argtypes = [pointer] * 4
    library.tokenspeed_set_embedding.argtypes = [pointer] * 3
    library.tokenspeed_set_rotation.argtypes = [pointer] * 3
    library.tokenspeed_step.argtypes = [
        pointer,
        integer,
        *[pointer] * 3,
        integer,
        *[pointer] * 5,
    ]
    library.tokenspeed_trim.argtypes = []
    library.tokenspeed_trim.restype = None
    library.tokenspeed_copy_slot.argtypes = [pointer, integer, integer, integer]
    library.tokenspeed_read_bandwidth.restype = ctypes.c_double
    library.tokenspeed_read_bandwidth.argtypes = [ctypes.c_int64, integer, ctypes.c_double]
    library.tokenspeed_cache_bytes.restype = ctypes.c_int64
    library.tokenspeed_cache_bytes.argtypes = [pointer]
    return library


def _shape(model: ModelConfig, config: EngineConfig, threads: int, **forms: int) -> _Shape:
    return _Shape(
        vocab_size=model.vocab_size,
        hidden_size=model.hidden_size,
        intermediate_size=model.intermediate_size,
        num_layers=model.num_layers,
        num_heads=model.num_heads,
        num_kv_heads=model.num_kv_heads,
        head_dim=model.head_dim,
        num_slots=config.num_slots,
        max_length=config.max_length,
        max_rows=config.max_step_tokens,
        num_threads=threads,
        tied=model.tie_word_embeddings,
        rms_norm_eps=model.rms_norm_eps,
        **forms,
    )


def _switches(model: ModelConfig) -> _Switches:
    return _Switches(
        qk_norm=("", "head", "width").index(model.qk_norm),
        qk_norm_rotated=model.qk_norm_rotated,
        gelu=model.activation == "gelu_tanh",
        norms_after=model.norms != "before",
        num_ropes=len(model.ropes),
        attention_scale=model.attention_scale,
        attention_softcap=model.attention_softcap,
        logit_softcap=model.logit_softcap,
        embedding_scale=model.embedding_scale,
    )


def _address(array: NDArray[Any]) -> int:
    assert array.flags.c_contiguous, "arrays of a step are contiguous"
    return array.ctypes.data


def _check(indices: NDArray[np.int32], limit: int, name: str) -> None:
    assert indices.dtype == np.int32, f"{name} has dtype {indices.dtype}"
    if len(indices):
        assert indices.min() >= 0, f"{name} below 0"
        assert indices.max() < limit, f"{name} reaches {indices.max()}, limit {limit}"
