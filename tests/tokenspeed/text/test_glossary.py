"""Words that come out as wanted: found in a source, kept from the model, put back, and counted."""

from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service.captions.job import Job
from service.captions.policy import PRESETS, Source
from service.captions.stream import TargetStream
from tests.service.fakes import ids, new_detokenizer, token_text
from tokenspeed.text.glossary import PLACEHOLDERS, Glossary, Placeholders, Term
from tokenspeed.text.words import word_ends

TERMS = (
    Term("coffee machine", "Kaffeemaschine"),
    Term("machine", "maschinchen"),
    Term("IT", "EDV", is_case_sensitive=True),
    Term("TokenSpeed", "TokenSpeed", is_case_sensitive=True, is_exact=True),
)
WORDS = (
    "the",
    "coffee",
    "machine",
    "IT",
    "it",
    "TokenSpeed",
    *PLACEHOLDERS[:3],
    "a@b.de",
    "x.org/y",
)
SENTENCES = st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)


def wanted(text: str) -> list[str]:
    return [found.wanted for found in Glossary(TERMS).find(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Coffee Machine and the machine.", ["Kaffeemaschine", "maschinchen"]),
        ("it is IT, not It", ["EDV"]),
        ("tokenspeed, TokenSpeed's and TokenSpeeder", ["TokenSpeed"]),
        ("machinery and submachine", []),
        ("Write to anna.b+c@mail.example.com.", ["anna.b+c@mail.example.com"]),
        ("See https://ex.org/a?b=1, or www.x-y.fr!", ["https://ex.org/a?b=1", "www.x-y.fr"]),
        ("See example.com/live: it is new.", ["example.com/live"]),
        ("At 3.5 or e.g. No.5 there is none.", []),
        ("在machine上", ["maschinchen"]),
    ],
)  # fmt: skip
def test_terms_are_found_as_whole_words(text: str, expected: list[str]) -> None:
    assert wanted(text) == expected


@pytest.mark.parametrize(
    ("text", "language", "wanted"),
    [
        ("Our Tickets are sold out.", "en", ["Eintrittskarte"]),
        ("Both stages are open, the main stages, too.", "en", ["Bühne", "Hauptbühne"]),
        ("TICKETS and iphones, iPhones", None, ["Eintrittskarte"]),  # a protected word is exact
        ("tickets.com has tickets", "en", ["tickets.com", "Eintrittskarte"]),
        ("see www.ticket.org/tickets", "en", ["www.ticket.org/tickets"]),
    ],
)
def test_terms_are_found_in_the_forms_of_the_language(
    text: str, language: str | None, wanted: list[str]
) -> None:
    terms = [
        Term("ticket", "Eintrittskarte"),
        Term("stage", "Bühne"),
        Term("main stage", "Hauptbühne"),
        Term("iPhone", "iPhone", is_case_sensitive=True, is_exact=True),
    ]
    found = Glossary(terms, source_language=language).find(text)
    assert [item.wanted for item in found] == wanted


def test_a_rare_name_is_kept_but_no_word_that_begins_a_sentence() -> None:
    text = "Duchesneau met Hochschwarzwald and Ann. Unfortunately Schwarzenegger left."
    found = Glossary((), lambda word: len(word) > 8, "en").find(text)
    assert [item.wanted for item in found] == ["Hochschwarzwald", "Schwarzenegger"]
    # Where nouns have capitals too, or where nobody knows, a capital says nothing.
    for language in ("de", None):
        assert Glossary((), lambda word: len(word) > 8, language).find(text) == []


def test_another_name_stands_in_where_the_first_was_not_copied() -> None:
    found = Placeholders(Glossary(TERMS))
    assert found.replace("a machine") == f"a {PLACEHOLDERS[0]}"
    missing = found.missing("a machine", "ein Ding")
    assert [item.wanted for item in missing] == ["maschinchen"]
    found.give_up(missing)
    assert found.replace("a machine") == f"a {PLACEHOLDERS[1]}"
    # What was committed with the first name keeps its meaning.
    for name in PLACEHOLDERS[:2]:
        assert found.restore(f"ein {name}s", [])[0] == "ein maschinchens"
    assert found.missing("a machine", "ein maschinchens") == []
    assert found.missing("a machine", "Maschinchen sind da") == []


def test_a_sentence_may_begin_with_a_glossary_word_but_a_protected_one_stays() -> None:
    found = Placeholders(Glossary((*TERMS, Term("npm", "npm", is_exact=True))))
    source = found.replace("machine, machine and npm")
    assert found.restore(source, [])[0] == "Maschinchen, maschinchen and npm"
    assert found.restore(found.replace("npm"), [])[0] == "npm"


@given(st.lists(SENTENCES, min_size=1, max_size=5), st.integers(0, 3))
@example([*["machine IT a@b.de"] * 4, "machine IT TokenSpeed Microsoft a@b.de Python"], 1)
def test_a_model_that_copies_names_gives_every_wanted_word(
    revisions: list[str], failures: int
) -> None:
    """The identity as a model: whatever was said before, what comes back is what was wanted."""
    glossary = Glossary(TERMS)
    placeholders = Placeholders(glossary)
    for text in revisions:
        for _ in range(failures):
            placeholders.give_up(glossary.find(text))
        shown = placeholders.replace(text)
        expected, at = "", 0
        for item in glossary.find(text):
            expected += text[at : item.start] + item.wanted
            at = item.end
        expected += text[at:]
        output, offsets = placeholders.token_text(token_text)(ids(shown))
        assert output.casefold() == expected.casefold()
        assert placeholders.missing(text, output) == []
        assert offsets == sorted(offsets)
        assert (len(offsets), offsets[-1]) == (len(shown) + 1, len(output))


@given(SENTENCES, st.data())
def test_text_that_comes_piece_by_piece_is_the_text_of_the_whole(
    text: str, data: st.DataObject
) -> None:
    class Characters:
        def push(self, tokens: Sequence[int]) -> str:
            return "".join(map(chr, tokens))

    placeholders = Placeholders(Glossary(TERMS))
    rest = placeholders.replace(text)
    whole = placeholders.restore(rest, [])[0]
    decoder = placeholders.decoder(Characters())
    said = ""
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        said += decoder.push(ids(rest[:size]))
        rest = rest[size:]
        assert whole.startswith(said)
    assert said + decoder.end() == whole


# ---- in a stream -------------------------------------------------------------------------------


def stream(preset: str = "low") -> TargetStream:
    return TargetStream("s", "a", "en", "de", PRESETS[preset], new_detokenizer, Glossary(TERMS))


def answer(found: TargetStream, job: Job, output: str) -> Job | None:
    tokens = job.forced + ids(output)[len(job.forced) :]
    return found.complete(job, tokens, is_whole=True)


def test_a_final_that_lacks_a_term_is_asked_for_again_and_the_best_one_counts() -> None:
    found = stream()
    source = Source("the TokenSpeed machine", 9, is_open=False, is_final=True)
    (job,), _ = found.revise([source], 1, 10.0)
    assert job.text == f"the {PLACEHOLDERS[0]} {PLACEHOLDERS[1]}"
    second = answer(found, job, f"das {PLACEHOLDERS[0]} Ding")
    assert second is not None
    assert second.text == f"the {PLACEHOLDERS[0]} {PLACEHOLDERS[2]}"
    assert not found.is_done
    third = answer(found, second, "das da")
    assert third is not None
    assert answer(found, third, "das hier") is None
    assert found.is_done
    assert found.take(11.0)[0] == "das TokenSpeed Ding"
    assert (found.terms, found.violations) == (2, 1)


def test_a_second_try_that_has_everything_is_taken_at_once() -> None:
    found = stream()
    (job,), _ = found.revise([Source("a machine", 9, is_open=False, is_final=True)], 1, 10.0)
    second = answer(found, job, "ein Ding")
    assert second is not None
    assert answer(found, second, f"ein {PLACEHOLDERS[1]}") is None
    assert found.take(11.0)[0] == "ein maschinchen"
    assert (found.terms, found.violations) == (1, 0)


def test_nothing_is_committed_from_where_a_term_is_missing() -> None:
    committed = {}
    for is_copied in (True, False):
        found = stream("append_only")
        words = "we see one machine here now".split()
        for n in range(3, len(words) + 1):
            jobs, _ = found.revise([Source(" ".join(words[:n]), n)], n, 10.0)
            said = ["wir", "sehen", "eine", PLACEHOLDERS[0] if is_copied else "Ding", "hier", "nun"]
            for job in jobs:
                answer(found, job, " ".join(said[:n]))
        found.take(11.0)
        committed[is_copied] = found.committed
    assert committed[True].startswith("wir sehen eine maschinchen")
    assert committed[False] == "wir sehen eine"


def test_a_link_is_committed_whole_or_not_at_all() -> None:
    found = stream("append_only")
    words = "look at https://example.org/live/a now and then please".split()
    ends = set()
    for n in range(1, len(words) + 1):
        jobs, _ = found.revise([Source(" ".join(words[:n]), n)], n, 10.0)
        for job in jobs:
            answer(found, job, job.text)
        found.take(11.0)
        ends.add(found.committed)
        assert "https" not in found.committed or words[2] in found.committed
    assert any(words[2] in text for text in ends)


def test_terms_go_on_through_a_sentence_that_had_to_be_cut() -> None:
    found = stream()
    cut = Source("the TokenSpeed,", 2, is_open=False, is_final=True, is_cut=True)
    rest = Source(" a machine", 2, is_open=False, is_final=True, continues=True)
    (job, _), _ = found.revise([cut, Source(" a", 1, continues=True)], 1, 10.0)
    answer(found, job, f"das {PLACEHOLDERS[0]}")
    (last,), _ = found.revise([cut, rest], 2, 11.0)
    assert last.context == ((f"the {PLACEHOLDERS[0]},", ids(f"das {PLACEHOLDERS[0]}")),)
    assert last.text.strip() == f"a {PLACEHOLDERS[1]}"
    assert answer(found, last, f", ein {PLACEHOLDERS[1]}") is None
    assert found.take(12.0)[0] == "das TokenSpeed, ein maschinchen"
    assert (found.terms, found.violations) == (2, 0)


def test_a_new_glossary_holds_from_the_next_revision_on() -> None:
    found = stream()
    (job,), _ = found.revise([Source("the router is", 3)], 1, 10.0)
    answer(found, job, "der router ist")
    found.glossary = Glossary([Term("router", "Netzkasten")])
    (job,), _ = found.revise([Source("the router is here", 4)], 2, 10.5)
    assert job.text == f"the {PLACEHOLDERS[0]} is here"
    answer(found, job, f"der {PLACEHOLDERS[0]} ist hier")
    assert "Netzkasten" in "".join(found.take(11.0)[:2])


@given(SENTENCES)
def test_every_word_of_a_restored_text_has_its_end(text: str) -> None:
    placeholders = Placeholders(Glossary(TERMS))
    output, offsets = placeholders.token_text(token_text)(ids(placeholders.replace(text)))
    # The last word, at least, ends where an id does, so that all of a text can be committed.
    assert not output or word_ends(output)[-1] in offsets
