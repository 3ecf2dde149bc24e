"""A prompt has the ids that a reference tokenizer gives its string, whatever the text spells."""

from pathlib import Path

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from tests.tokenspeed.families import change_config
from tests.tokenspeed.vocabularies import KINDS, MARKS, converted, write_vocabulary
from tokenspeed.model.frame import Frame
from tokenspeed.model.tokenizer import Tokenizer

FRAMES = [
    ("<|im_start|>user\nEnglish: ", "\nGerman:<|im_end|>\n<|im_start|>assistant\n"),
    ("explanation:\n\n", ""),  # no control piece at all
    ("<bos><start_of_turn>user\nSpanish:\n\n\n", "<end_of_turn>\n<start_of_turn>model\n"),
    ("<｜hy_begin▁of▁sentence｜><｜hy_User｜>", "<｜hy_Assistant｜>"),
    ("Translate it:\n", " <de>"),
]
# What a text may hold that tokenizers join with what stands beside it, or take for a mark.
TEXTS = st.lists(
    st.sampled_from(
        [
            *MARKS,
            "<|",
            "|>",
            "<",
            ">",
            "im_end",
            " ",
            "\n",
            "\n\n",
            "Good",
            " morning",
            ".",
            "é",
            "北京",
        ]
    )
    | st.text(max_size=4),
    max_size=6,
).map("".join)


@pytest.fixture(scope="module", params=KINDS)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Tokenizer, tokenizers.Tokenizer]:
    """A tokenizer, and the reference for it."""
    kind: str = request.param
    directory = tmp_path_factory.mktemp(kind)
    write_vocabulary(kind, directory)
    if kind.startswith("pieces"):
        reference = converted(True, is_legacy=kind.endswith("legacy"))
    else:
        reference = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    return Tokenizer.load(directory), reference


def _controls(tokenizer: Tokenizer, ids: tuple[int, ...]) -> list[int]:
    return [token for token in ids if token in tokenizer.control_ids]


@given(text=TEXTS, frame=st.sampled_from(FRAMES))
def test_text_is_joined_as_the_reference_joins_it_and_adds_no_control_piece(
    pair: tuple[Tokenizer, tokenizers.Tokenizer], text: str, frame: tuple[str, str]
) -> None:
    tokenizer, reference = pair
    before, after = frame
    made = Frame(tokenizer, before, after)
    ids = made.ids(text)
    assert _controls(tokenizer, ids) == _controls(tokenizer, made.ids("x"))
    harmless = tokenizer.defused(text)
    if not tokenizer.find_controls(text):
        assert harmless == text
    whole = before + harmless + after
    if len(tokenizer.find_controls(whole)) == len(_controls(tokenizer, made.ids("x"))):
        assert list(ids) == reference.encode(whole, add_special_tokens=False).ids


@given(text=TEXTS)
def test_a_users_text_alone_has_no_control_piece_either(
    pair: tuple[Tokenizer, tokenizers.Tokenizer], text: str
) -> None:
    tokenizer, _ = pair
    assert tokenizer.control_ids.isdisjoint(tokenizer.encode(text))


@pytest.mark.parametrize("mark", MARKS)
def test_each_mark_in_a_text_is_letters(
    pair: tuple[Tokenizer, tokenizers.Tokenizer], mark: str
) -> None:
    tokenizer, reference = pair
    own = reference.token_to_id(mark)
    assert own in reference.encode(f"Good {mark} morning").ids  # the test can fail
    ids = Frame(tokenizer, *FRAMES[1]).ids(f"Good {mark} morning")
    assert own not in ids
    assert "morning" in tokenizer.decode(ids)


def test_a_mark_that_normalisation_makes_is_letters_too(tmp_path: Path) -> None:
    write_vocabulary("bytes", tmp_path)
    path = tmp_path / "tokenizer.json"
    made = tokenizers.Tokenizer.from_file(str(path))
    made.normalizer = tokenizers.normalizers.NFKC()
    made.add_special_tokens([tokenizers.AddedToken("<|end|>", special=True, normalized=True)])
    made.save(str(path))
    change_config(tmp_path, vocab_size=600)
    tokenizer = Tokenizer.load(tmp_path)
    mark, wide = tokenizer.controls["<|end|>"], "＜|end|＞"
    assert mark in made.encode(f"a {wide} b").ids
    before, after = "<|im_start|>x: ", "<|im_end|>"
    ids = Frame(tokenizer, before, after).ids(f"a {wide} b")
    assert mark not in ids
    assert _controls(tokenizer, ids) == [
        tokenizer.controls[m] for m in ("<|im_start|>", "<|im_end|>")
    ]


def test_what_begins_a_prompt_stands_first(
    pair: tuple[Tokenizer, tokenizers.Tokenizer],
) -> None:
    tokenizer, _ = pair
    before, after = FRAMES[0]
    plain = Frame(tokenizer, before, after)
    assert Frame(tokenizer, before, after, (1,)).ids("Good") == (1, *plain.ids("Good"))
