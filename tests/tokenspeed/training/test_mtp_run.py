"""`tokenspeed train-mtp` as a user types it: a whole file or none, and what cannot be done."""

import time
from pathlib import Path

import numpy as np
import pytest

from tokenspeed.cli import main
from tokenspeed.model.families import load_model_config
from tokenspeed.model.mtp import GUESSED, MTP_FILE, read_mtp
from tokenspeed.training import mtp_run
from tokenspeed.training.mtp import MtpTrainer
from tokenspeed.training.mtp_data import mtp_shapes
from tokenspeed.training.mtp_run import Schedule, _passes, check_target, frequent_tokens
from tokenspeed.training.packing import Sequenced


def train(model: Path, corpus: Path, *more: str) -> int:
    common = ["--languages", "de", "--device", "cpu", "--batch-size", "8", "--epochs", "2"]
    arguments = ["train-mtp", "--model", str(model), "--corpus", str(corpus), *common, *more]
    return main(arguments)


def test_a_layer_lies_beside_its_model_and_the_result_is_told(
    brief_translator: Path, toy_corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = set(brief_translator.iterdir())
    try:
        assert train(brief_translator, toy_corpus) == 0
        tensors = read_mtp(brief_translator, load_model_config(brief_translator))
    finally:
        (brief_translator / MTP_FILE).unlink(missing_ok=True)
    assert tensors is not None
    assert set(brief_translator.iterdir()) == before
    out = capsys.readouterr().out
    assert out.startswith(f"wrote {brief_translator / MTP_FILE}: on text that was held out, ")
    assert "% of guesses right, " in out
    assert "% of end marks" in out


def test_the_same_seed_gives_the_same_file(
    brief_translator: Path, toy_corpus: Path, tmp_path: Path
) -> None:
    files = [tmp_path / name for name in ("one", "same", "other")]
    for file, seed in zip(files, "112", strict=True):
        more = ["--out", str(file), "--prompts", "40", "--seed", seed]
        assert train(brief_translator, toy_corpus, *more) == 0
    one, same, other = (file.read_bytes() for file in files)
    assert one == same
    assert one != other


def test_more_epochs_and_captions_are_more_steps(
    brief_translator: Path, toy_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[float] = []
    step = MtpTrainer.step

    def counted(self: MtpTrainer, batch: object, share: float) -> object:
        shares.append(share)
        return step(self, batch, share)  # type: ignore[arg-type]

    monkeypatch.setattr(MtpTrainer, "step", counted)
    monkeypatch.setattr(mtp_run, "_CHUNK_BATCHES", 2)
    more = ["--out", str(tmp_path / "layer"), "--prompts", "64"]
    assert train(brief_translator, toy_corpus, *more) == 0
    # Four chunks of 16 captions, each twice.
    assert len(shares) == 8
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] == pytest.approx(7 / 8)


def test_fresh_captions_come_once_and_then_any_of_those_before() -> None:
    learnt = [Sequenced((number, 4, 5, 2), 2) for number in range(100)]
    rng, shapes = np.random.default_rng(0), mtp_shapes(256)
    made = list(_passes(learnt[90:], learnt, shapes, 3, rng))
    firsts = [batch.tokens[batch.borders[: batch.num_examples]].tolist() for batch, _ in made]
    assert [part for _, part in made] == pytest.approx([0.0, 1 / 3, 2 / 3])
    assert sorted(firsts[0]) == list(range(90, 100))
    assert all(len(set(numbers)) == 10 for numbers in firsts)
    assert any(number < 90 for number in firsts[1])


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        (["--corpus", "nowhere"], "en-de.train.tsv.xz"),
        (["--languages", "de,fr"], "en-fr.train.tsv.xz"),
        (["--out", "nowhere/layer"], "nowhere/layer"),
        (["--out", "."], "Is a directory"),
        (["--max-seconds", "1e-6"], "nothing was learnt"),
        (["--max-seconds", "0"], "nothing was learnt"),
        (["--model", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_done_is_told_and_leaves_nothing(
    more: list[str],
    problem: str,
    brief_translator: Path,
    toy_corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train(brief_translator, toy_corpus, "--out", "layer", *more) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("tokenspeed: ")
    assert problem in told
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["--prompts", "--epochs", "--batch-size"])
def test_a_number_that_is_none_is_told(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train-mtp", "--model", "m", "--corpus", "c", name, "0"])
    assert "'0' is not a whole number from 1 on" in capsys.readouterr().err


def test_a_file_that_is_there_stays_until_there_is_a_new_one(
    brief_translator: Path, toy_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "layer"
    out.write_bytes(b"older")

    def broken(path: Path, layer: object, guessed: object) -> None:
        path.write_bytes(b"half of it")
        raise OSError("no space left")

    check_target(out)
    assert out.read_bytes() == b"older"
    monkeypatch.setattr(mtp_run, "write_mtp", broken)
    assert train(brief_translator, toy_corpus, "--out", str(out), "--prompts", "40") == 2
    assert out.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [out]


def test_of_a_large_vocabulary_the_most_frequent_tokens_are_guessed(
    brief_translator: Path, toy_corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_model_config(brief_translator)
    for most in (3, config.vocab_size):
        monkeypatch.setattr(mtp_run, "MOST_GUESSED", most)
        more = ["--out", str(tmp_path / MTP_FILE), "--prompts", "40"]
        assert train(brief_translator, toy_corpus, *more) == 0
        tensors = read_mtp(tmp_path, config)
        assert tensors is not None
        assert (GUESSED in tensors) == (most == 3)
        if most == 3:
            assert len(tensors[GUESSED]) == 3
            assert set(tensors[GUESSED].tolist()) & set(config.eos_token_ids)


def test_tokens_of_prompts_do_not_count() -> None:
    said = [Sequenced((1, 1, 1, 9, 5, 2), 3), Sequenced((1, 1, 5, 9, 9, 2), 2)]
    assert frequent_tokens(said, 2) == [2, 9]
    assert frequent_tokens(said, 9) == [2, 5, 9]


def test_a_schedule_is_over_by_captions_or_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    schedule = Schedule(num_prompts=10, max_seconds=60.0)
    assert schedule.share == 0.0
    schedule.done = 4.0
    assert schedule.share == pytest.approx(0.4)
    now_s += 45.0
    assert schedule.share == pytest.approx(0.75)
    now_s += 45.0
    assert schedule.share == 1.0
    assert Schedule(10, 0.0).share == 1.0
