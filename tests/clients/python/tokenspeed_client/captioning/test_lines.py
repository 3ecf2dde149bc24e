"""What other programs write, cut into utterances."""

from hypothesis import given
from hypothesis import strategies as st

from tokenspeed_client.captioning.heard import Heard
from tokenspeed_client.captioning.lines import Lines


def read(*pieces: str) -> list[Heard]:
    lines = Lines()
    found = [heard for piece in pieces for heard in lines.accept(piece)]
    return found + list(lines.finish())


def finals(*pieces: str) -> list[str]:
    return [heard.text for heard in read(*pieces) if heard.is_final and heard.text]


def test_a_line_is_an_utterance_and_grows_before_it_ends() -> None:
    assert read("Good", " morning.\nHow", " are you?\r\n") == [
        Heard("Good", False),
        Heard("Good morning.", True),
        Heard("How", False),
        Heard("How are you?", True),
    ]


def test_what_has_no_end_ends_with_the_input() -> None:
    assert finals("One.\nTwo") == ["One.", "Two"]
    assert read("\n\n  \n") == []


def test_a_line_that_is_written_anew_replaces_what_was_said() -> None:
    erase = "\x1b[2K\r"
    pieces = [
        f"{erase}{' ' * 40}{erase} And so my",
        f"{erase}{' ' * 40}{erase} And so my fellow Americans",
        "\n",
    ]
    assert read(*pieces) == [
        Heard("And so my", False),
        Heard("And so my fellow Americans", False),
        Heard("And so my fellow Americans", True),
    ]


def test_a_line_that_was_erased_last_is_what_was_said() -> None:
    assert finals("hello\x1b[2K\r", "\n") == ["hello"]
    assert finals("hello\rhello you", "\r", "      ", "\n") == ["hello you"]


def test_the_marks_of_whisper_stream_are_times_or_no_speech() -> None:
    said = (
        "[Start speaking]\n\n### Transcription 0 START | t0 = 0 ms | t1 = 10000 ms\n\n"
        "[00:00:00.000 --> 00:00:02.500]  Good morning.\n"
        "[00:00:02.500 --> 01:00:04,000]   [BLANK_AUDIO]\n(music)\n"
        "\n### Transcription 0 END\n"
    )
    assert read(said) == [Heard("Good morning.", True, 0, 2500)]
    assert read("[00:00:02.5", "00 --> 00:00:04.000]  Yes.\n") == [Heard("Yes.", True, 2500, 4000)]


@given(
    st.lists(
        st.sampled_from(["a", "b ", "\n", "\r", "\x1b[2K", "\x1b[", "2K", "ß", "[x]", "###"]),
        max_size=14,
    ),
    st.data(),
)
def test_where_pieces_end_changes_no_final(parts: list[str], data: st.DataObject) -> None:
    text = "".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=4)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert finals(*pieces) == finals(text)
    assert not any(mark in final for final in finals(text) for mark in "\r\n")
