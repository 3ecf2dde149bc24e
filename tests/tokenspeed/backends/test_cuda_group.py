"""Several ranks as one backend: equal to one rank, the same bits at every width, and what fails."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import triton.language as tl

from tests.conftest import MakeModel
from tests.tokenspeed.backends.group_process import open_group
from tests.tokenspeed.backends.test_cuda import rows
from tests.tokenspeed.backends.test_cuda_ahead import verifying
from tests.tokenspeed.kernels.support import assert_as_exact
from tokenspeed.backends import ANY_TOKEN, Step, cuda, cuda_group
from tokenspeed.backends.cuda import CudaBackend
from tokenspeed.backends.cuda_ahead import behind_draft, next_pairs
from tokenspeed.backends.cuda_group import (
    CudaGroup,
    are_persistent,
    check_devices,
    group_of,
)
from tokenspeed.backends.cuda_ref import step_ref
from tokenspeed.backends.cuda_weights import load_weights, random_mtp
from tokenspeed.engine.engine import Engine, TokenStream
from tokenspeed.engine.request import Request
from tokenspeed.errors import BackendUnavailable, DeviceLost
from tokenspeed.kernels import exchange
from tokenspeed.kernels.exchange import join
from tokenspeed.model import mtp
from tokenspeed.model.checkpoint import open_checkpoint
from tokenspeed.model.config import EngineConfig
from tokenspeed.model.mtp import MTP_FILE, Mtp, write_mtp
from tokenspeed.model.sharding import Shard

CONFIG = EngineConfig(num_slots=3, max_length=32, max_step_tokens=24)
PROMPT = np.random.default_rng(1).integers(3, 90, 20).tolist()


@pytest.fixture(scope="module")
def model(make_model: MakeModel) -> Path:
    # A vocabulary that two ranks cannot share evenly.
    return make_model(hidden_size=128, intermediate_size=256, head_dim=32, vocab_size=97, seed=3)


@pytest.fixture(scope="module")
def group(model: Path) -> Iterator[CudaGroup]:
    group = open_group(model, "bf16", CONFIG, 2)
    yield group
    group.close()


def test_logits_are_those_of_one_rank_within_rounding(model: Path, group: CudaGroup) -> None:
    whole = torch.from_numpy(group.logits(rows((0, 0, PROMPT))))
    weights = load_weights(open_checkpoint(model), "bf16", "cpu")
    ref, exact = (step_ref(weights, PROMPT, d) for d in (torch.bfloat16, torch.float32))
    assert_as_exact(whole, ref, exact)


def test_a_row_has_the_same_bits_at_every_width(group: CudaGroup) -> None:
    whole = group.logits(rows((0, 0, PROMPT)))
    group.copy_slot(0, 1, 8)
    parts = [
        group.logits(rows((1, 8, PROMPT[8:19]))),
        group.logits(rows((1, 19, PROMPT[19:]))),
    ]
    assert np.array_equal(np.concatenate(parts), whole[8:])
    together = group.logits(rows((2, 0, PROMPT[:3]), (0, 19, PROMPT[19:])))
    assert np.array_equal(together, np.concatenate((whole[:3], whole[19:])))


def test_tokens_are_the_best_of_all_ranks(group: CudaGroup) -> None:
    batch = rows((0, 0, PROMPT[:8]))
    logits = group.logits(batch)
    best = logits.argmax(-1)
    assert (group.step(batch) == best).all()
    assert len(set(best // 49)) == 2  # both ranks have some of them
    # The draft is the second best, wherever it is; a large bias takes it.
    second = logits.argsort(-1)[:, -2].astype(np.int32)
    p = torch.from_numpy(logits).double().softmax(-1).numpy()
    index = np.arange(len(p))
    gap = p[index, best] - p[index, second]
    bias = np.full(len(p), 0.1, np.float32)
    threshold = 0.1 / 0.9
    assert (np.abs(gap - threshold) > 1e-5).all()
    chosen = group.step(replace(batch, drafts=second, biases=bias))
    assert (chosen == np.where(gap <= threshold, second, best)).all()


def test_ranks_agree_on_what_is_launched_ahead(group: CudaGroup) -> None:
    ranks: Any = group.ranks
    group.step(rows((0, 0, PROMPT[:8])))
    step = replace(rows((0, 8, PROMPT[8:9])), stops=np.zeros((0, 2), np.int32))
    expected = []
    for launches_ahead in (False, True):
        for rank in ranks:
            rank.launches_ahead = launches_ahead
        found, current = [], step
        for _ in range(3):
            chosen = group.step(current)
            found.append(int(chosen[0]))
            current = replace(current, tokens=chosen, positions=current.positions + 1)
        expected.append(found)
        group.logits(rows((0, 0, PROMPT[:1])))  # lets go of what is behind the last one
    assert expected[0] == expected[1]
    for rank in ranks:
        rank.launches_ahead = False
    ranks[1].hold(True)  # before the other one knows
    for rank in ranks:
        rank.begin(step)
    for rank in ranks:
        rank.follow(1)
    assert [rank.finish(1).tolist() for rank in ranks] == [expected[0][:1]] * 2
    assert [rank.has_ended() for rank in ranks] == [True, True]
    for rank in ranks:
        rank.hold(False)
        rank.drop()
    assert group.step(step).tolist() == expected[0][:1]


def test_ranks_agree_on_what_goes_on_behind_a_draft(group: CudaGroup) -> None:
    ranks: Any = group.ranks
    prompt, draft = PROMPT[:6], list[int]()
    for _ in range(3):
        draft.append(int(group.step(rows((0, 0, [*prompt, *draft])))[-1]))
    cases = [(draft, 3), ([draft[0], 96, 95], 1), ([96, 95, 94], 0)]
    for offered, end in cases:
        step = verifying(prompt, offered)
        for rank in ranks:
            rank.launches_ahead = False
        chosen = group.step(step)
        behind = rows((0, 6 + end, [int(chosen[end])]))
        expected = group.step(behind).tolist()
        stop = np.array([(ANY_TOKEN, chosen[end])], np.int32)
        for rank in ranks:
            rank.launches_ahead = True
        for batch, is_ahead in ((step, True), (replace(step, stops=stop, num_ends=1), False)):
            assert group.step(batch).tolist() == chosen.tolist()
            assert group.step(behind).tolist() == expected
            assert group.was_ahead is is_ahead
    for rank in ranks:
        rank.launches_ahead = False
    ranks[1].hold(True)  # before the other one knows
    for rank in ranks:
        rank.begin(step)
    for rank in ranks:
        rank.follow(1, is_behind_draft=True)
    assert [rank.finish(4).tolist() for rank in ranks] == [chosen.tolist()] * 2
    assert [rank.has_ended() for rank in ranks] == [True, True]
    for rank in ranks:
        rank.hold(False)
        rank.drop()
    assert group.step(behind).tolist() == expected


def test_ranks_guess_together_and_launch_their_guesses_ahead(
    make_model: MakeModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one rank guesses, of the tokens that can be guessed, at every width."""
    monkeypatch.setattr(mtp, "MIN_GUESSED_WEIGHTS", 0)
    path = make_model(
        num_hidden_layers=1, hidden_size=128, intermediate_size=128, head_dim=32, vocab_size=97
    )
    checkpoint, can_be_guessed = open_checkpoint(path), list(range(0, 97, 2))
    layer = Mtp(checkpoint.config)
    layer.load_state_dict(random_mtp(checkpoint.config, "cpu", seed=5))
    write_mtp(path / MTP_FILE, layer, guessed=can_be_guessed)
    group = open_group(path, "bf16", CONFIG, 2)
    weights = load_weights(checkpoint, "bf16", "cpu")
    alone = CudaBackend(weights, CONFIG, launch_ahead=False)
    for rank in group.ranks:
        rank.launches_ahead = True  # type: ignore[attr-defined]
    first = rows((0, 0, PROMPT[:12]), (1, 0, PROMPT[:5]), (1, 5, PROMPT[5:6]))
    found, (token, other) = _said_by(group, first), alone.step(first)[[11, 17]].tolist()
    assert found == _said_by(alone, first)
    assert set(found[1]) <= set(can_be_guessed)
    assert {guess // 49 for guess in found[1]} == {0, 1}  # both ranks have some of them
    right = int(alone.step(rows((0, 12, [token])))[0])
    step = rows((0, 12, [token, right]), (1, 6, [other, 0]))
    step = replace(step, stops=np.zeros((0, 2), np.int32))
    step = replace(step, drafts=np.array([right, -1, 0, -1], np.int32))
    for number in range(3):
        found = _said_by(group, step)
        assert group.was_ahead is (number > 0)
        assert found == _said_by(alone, step)
        chosen, guessed = (np.array(part, np.int32) for part in found)
        assert (chosen[0] == right) or number
        step = next_pairs(step, chosen, guessed)
    for draft, end in (([right, 0], 1), ([0, 0], 0)):
        step = verifying(PROMPT[:12], [token, *draft])
        found = _said_by(group, step)
        assert found == _said_by(alone, step)
        chosen, guessed = (np.array(part, np.int32) for part in found)
        behind = behind_draft(step, chosen, guessed, 1 + end)
        assert _said_by(group, behind) == _said_by(alone, behind)
        assert group.was_ahead
    assert _said_by(group, rows((2, 0, PROMPT[:1]))) == _said_by(alone, rows((2, 0, PROMPT[:1])))
    alone.close()
    group.close()


def _said_by(backend: CudaBackend | CudaGroup, step: Step) -> tuple[list[int], list[int]]:
    """Tokens of a step, and what is guessed behind them."""
    tokens = backend.step(step).tolist()
    assert backend.guessed is not None
    return tokens, backend.guessed.tolist()


def test_a_tie_between_ranks_goes_to_the_lowest_id(make_model: MakeModel) -> None:
    from safetensors.torch import load_file, save_file

    sizes = {"hidden_size": 128, "intermediate_size": 128, "head_dim": 32, "vocab_size": 98}
    path = make_model(num_hidden_layers=1, **sizes)
    tensors = load_file(path / "model.safetensors")
    table = tensors["model.embed_tokens.weight"]
    table[49:] = table[:49]  # tied: the head of the second rank is that of the first
    save_file(tensors, path / "model.safetensors")
    group = open_group(path, "bf16", CONFIG, 2)
    batch = rows((0, 0, PROMPT[:2]))
    assert (group.step(batch) < 49).all()
    first, second = np.split(group.logits(batch), 2, axis=1)
    assert np.array_equal(first, second)
    group.close()


@pytest.fixture
def lonely(model: Path) -> Iterator[tuple[CudaBackend, list[torch.Tensor]]]:
    """The first rank of two, the inboxes of both, and no second rank."""
    checkpoint = open_checkpoint(model)
    groups = [group_of(rank, 2, checkpoint.config, CONFIG) for rank in range(2)]
    inboxes = [torch.zeros(one.inbox_words, dtype=torch.int64) for one in groups]
    weights = load_weights(checkpoint.part(Shard(0, 2)), "bf16", "cpu")
    backend = CudaBackend(weights, CONFIG, member=join(groups[0], inboxes, "cpu"))
    yield backend, inboxes
    backend.close()


def test_a_step_without_rows_waits_for_nobody(
    lonely: tuple[CudaBackend, list[torch.Tensor]],
) -> None:
    backend, inboxes = lonely
    for width in (1, 16, 24):  # as graphs are captured, when the other rank is not there yet
        backend._run(width, backend.launch)
    assert not backend.memory.member.failed.any()
    assert not any(inbox.any() for inbox in inboxes)


def test_a_rank_that_is_gone_is_not_waited_for_for_ever(
    lonely: tuple[CudaBackend, list[torch.Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, inboxes = lonely
    monkeypatch.setattr(exchange, "_MAX_POLLS", tl.constexpr(3))
    assert backend.step(rows((0, 0, [5, 6]))).tolist() == [-1, -1]
    assert inboxes[1].any()  # what it has sent all the same
    assert backend.memory.member.failed[0] == 1
    backend.forgive()
    assert not backend.memory.member.failed.any()


def test_steps_of_one_row_are_one_kernel_on_all_gpus_or_on_none(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = [load_weights(open_checkpoint(model).part(Shard(i, 2)), "bf16", "cpu") for i in (0, 1)]
    # Two ranks on one device: each would wait for a kernel that has no place there.
    assert not are_persistent(parts, None)
    with pytest.raises(BackendUnavailable, match="one GPU together"):
        are_persistent(parts, True)
    apart = [replace(parts[0], embedding=parts[0].embedding.to("meta")), parts[1]]
    for each, expected in (([1, 1], True), ([1, 0], False), ([0, 1], False)):
        found = iter(each)
        monkeypatch.setattr(cuda_group, "persistent_rows", lambda *_, found=found: next(found))
        assert are_persistent(apart, None) is expected


class Fake:
    """A rank whose tokens are told."""

    num_slots = max_length = max_step_tokens = weight_bytes = cache_bytes = 8
    guesses = False

    def __init__(self, *tokens: int) -> None:
        self.tokens, self.forgiven, self.held = np.array(tokens, np.int32), 0, False

    def begin(self, batch: object, written: object = None) -> None: ...
    def may_follow(self, rows: int) -> bool:
        return False

    def follow(self, rows: int, *, is_behind_draft: bool = False) -> None: ...
    def has_ended(self) -> bool:
        return False

    def drop(self) -> None: ...
    def hold(self, is_held: bool) -> None:
        self.held = is_held

    def finish(self, outputs: int) -> np.ndarray:
        return self.tokens[:outputs]

    def finish_guesses(self, outputs: int) -> np.ndarray:
        raise NotImplementedError

    def make_logits(self, batch: object) -> None: ...
    def launch_logits(self, batch: object, out: object) -> None: ...
    def finish_logits(self, out: object) -> np.ndarray:
        return np.zeros((1, 1), np.float32)

    def copy_slot(self, source: int, target: int, length: int) -> None: ...
    def forgive(self) -> None:
        self.forgiven += 1

    def close(self) -> None: ...


def test_a_rank_that_does_not_answer_fails_the_step_alone(model: Path) -> None:
    config = open_checkpoint(model).config
    lost, there = Fake(-1), Fake(7)
    group = CudaGroup([lost, there], config)
    assert group.weight_bytes == 16
    with pytest.raises(DeviceLost, match="waited in vain"):
        group.step(rows((0, 0, [5])))
    assert lost.forgiven == there.forgiven == 1
    lost.tokens = there.tokens
    assert group.step(rows((0, 0, [5]))).tolist() == [7]
    group.hold(True)
    assert lost.held
    assert there.held


def test_gpus_that_are_not_there_are_named() -> None:
    count = torch.cuda.device_count()
    with pytest.raises(BackendUnavailable, match=f"GPU {count} was asked for, {count} were found"):
        check_devices([count, count + 1])
    with pytest.raises(BackendUnavailable, match="named twice in 0, 0"):
        check_devices([0, 0])


def test_gpus_that_cannot_reach_each_other_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "can_device_access_peer", lambda one, other: False)
    with pytest.raises(BackendUnavailable, match="GPU 1 cannot reach the memory of GPU 3; use GPU"):
        check_devices([1, 3])


def test_each_gpu_of_a_group_has_to_be_new_enough(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {2: (9, 0), 3: (7, 0)}
    monkeypatch.setattr(cuda, "INTERPRETED", False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda gpu: sizes[gpu])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda gpu: f"card {gpu}")
    monkeypatch.setattr(cuda_group, "check_devices", lambda devices: None)
    with pytest.raises(BackendUnavailable, match=r"card 3 \(sm_70\) is too old"):
        CudaGroup.from_checkpoint(open_checkpoint(model), CONFIG, [2, 3])


async def test_a_group_that_has_lost_a_gpu_is_built_anew(model: Path) -> None:
    config, closed, answers = open_checkpoint(model).config, list[int](), [7, -1]

    class Told(Fake):
        num_slots, max_length, max_step_tokens = 4, 64, 16

        def finish(self, outputs: int) -> np.ndarray:
            return np.full(outputs, self.tokens[0], np.int32)

        def close(self) -> None:
            closed.append(int(self.tokens[0]))

    def build() -> CudaGroup:
        return CudaGroup([Told(answers.pop()), Told(7)], config)

    engine = Engine(build(), eos_token_ids=(2,), rebuild=build)
    streams = [TokenStream(engine.submit, Request((5 + i, 6), max_new_tokens=3)) for i in range(6)]
    for stream in streams:  # none of them is blamed
        assert (await stream.completion()).tokens == (7, 7, 7)
    assert closed == [-1, 7]
    assert engine.stats().failures == 2
    assert engine.health().is_alive
    engine.close()


def test_heads_that_gpus_cannot_share_are_named(model: Path) -> None:
    with pytest.raises(BackendUnavailable, match="num_heads is 4, which 3 GPUs cannot share"):
        load_weights(open_checkpoint(model).part(Shard(0, 3)), "bf16", "cpu")
    with pytest.raises(BackendUnavailable, match="num_kv_heads is 2, which 4 GPUs cannot share"):
        load_weights(open_checkpoint(model).part(Shard(0, 4)), "bf16", "cpu")
