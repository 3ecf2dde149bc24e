"""Words that come out as they are wanted, while their sentence is still spoken."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from service.captions.job import Job
from service.captions.policy import PRESETS, Source
from service.captions.stream import TargetStream
from tests.service.fakes import ids, new_detokenizer, token_text
from tokenspeed.text.glossary import Glossary, Term
from tokenspeed.text.pipeline import Hygiene
from tokenspeed.text.placeholders import Placeholders
from tokenspeed.text.vocabulary import NAMES
from tokenspeed.text.words import word_ends

TERMS = (
    Term("coffee machine", "Kaffeemaschine"),
    Term("machine", "maschinchen"),
    Term("IT", "EDV", is_case_sensitive=True),
    Term("TokenSpeed", "TokenSpeed", is_case_sensitive=True, is_exact=True),
)
SENTENCES = st.lists(
    st.sampled_from(("the", "coffee", "machine", "IT", "TokenSpeed", *NAMES[:3])), max_size=12
).map(" ".join)


def hygiene(terms: Sequence[Term]) -> Hygiene:
    return Hygiene(glossary=Glossary(terms), source="en", target="de")


def stream(preset: str = "low") -> TargetStream:
    return TargetStream("s", "a", "en", "de", PRESETS[preset], new_detokenizer, hygiene(TERMS))


def answer(found: TargetStream, job: Job, output: str) -> Job | None:
    tokens = job.forced + ids(output)[len(job.forced) :]
    return found.complete(job, tokens, is_whole=True)


def test_a_final_that_lacks_a_term_is_asked_for_again_and_the_best_one_counts() -> None:
    found = stream()
    source = Source("the TokenSpeed machine", 9, is_open=False, is_final=True)
    (job,), _ = found.revise([source], 1, 10.0)
    assert job.text == f"the {NAMES[0]} {NAMES[1]}"
    second = answer(found, job, f"das {NAMES[0]} Ding")
    assert second is not None
    assert second.text == f"the {NAMES[0]} {NAMES[2]}"
    assert not found.is_done
    third = answer(found, second, "das da")
    assert third is not None
    assert answer(found, third, "das hier") is None
    assert found.is_done
    assert found.take(11.0)[0] == "das TokenSpeed Ding"
    assert (found.counts.terms, found.counts.violations) == (2, 1)


def test_a_second_try_that_has_everything_is_taken_at_once() -> None:
    found = stream()
    (job,), _ = found.revise([Source("a machine", 9, is_open=False, is_final=True)], 1, 10.0)
    second = answer(found, job, "ein Ding")
    assert second is not None
    assert answer(found, second, f"ein {NAMES[1]}") is None
    assert found.take(11.0)[0] == "ein maschinchen"
    assert (found.counts.terms, found.counts.violations) == (1, 0)


def test_nothing_is_committed_from_where_a_term_is_missing() -> None:
    committed = {}
    for is_copied in (True, False):
        found = stream("append_only")
        words = "we see one machine here now".split()
        for n in range(3, len(words) + 1):
            jobs, _ = found.revise([Source(" ".join(words[:n]), n)], n, 10.0)
            said = ["wir", "sehen", "eine", NAMES[0] if is_copied else "Ding", "hier", "nun"]
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
    answer(found, job, f"das {NAMES[0]}")
    (last,), _ = found.revise([cut, rest], 2, 11.0)
    assert last.context == ((f"the {NAMES[0]},", ids(f"das {NAMES[0]}")),)
    assert last.text.strip() == f"a {NAMES[1]}"
    assert answer(found, last, f", ein {NAMES[1]}") is None
    assert found.take(12.0)[0] == "das TokenSpeed, ein maschinchen"
    assert (found.counts.terms, found.counts.violations) == (2, 0)


def test_a_new_glossary_holds_from_the_next_revision_on() -> None:
    found = stream()
    (job,), _ = found.revise([Source("the router is", 3)], 1, 10.0)
    answer(found, job, "der router ist")
    found.hygiene = hygiene([Term("router", "Netzkasten")])
    (job,), _ = found.revise([Source("the router is here", 4)], 2, 10.5)
    assert job.text == f"the {NAMES[0]} is here"
    answer(found, job, f"der {NAMES[0]} ist hier")
    assert "Netzkasten" in "".join(found.take(11.0)[:2])


@given(SENTENCES)
def test_every_word_of_a_restored_text_has_its_end(text: str) -> None:
    placeholders = Placeholders(Glossary(TERMS))
    output, offsets = placeholders.token_text(token_text)(ids(placeholders.replace(text)))
    # The last word, at least, ends where an id does, so that all of a text can be committed.
    assert not output or word_ends(output)[-1] in offsets


def test_a_wrong_number_of_a_final_is_put_right_unless_readers_have_it() -> None:
    for is_seen, said in (
        (False, "wir sehen uns um 12 Uhr da"),
        (True, "wir sehen uns um 19 Uhr da"),
    ):
        found = stream("append_only")
        words = "we see us at noon there again".split()
        for n in range(3, 7) if is_seen else ():
            jobs, _ = found.revise([Source(" ".join(words[:n]), n)], n, 10.0)
            for job in jobs:
                answer(found, job, "wir sehen uns um 19 Uhr da")
        found.take(10.0)
        assert ("19" in found.committed) == is_seen
        whole = Source(" ".join(words[:6]), 9, is_open=False, is_final=True)
        (job,), _ = found.revise([whole], 9, 11.0)
        assert job.text == "we see us at 12:00 there"
        assert answer(found, job, "wir sehen uns um 19 Uhr da") is None
        found.take(12.0)
        assert found.committed == said


def test_a_number_that_may_still_grow_is_shown_as_it_is_said() -> None:
    found = stream()
    (job,), _ = found.revise([Source("we have thirty", 3)], 1, 10.0)
    assert job.text == "we have thirty"
    answer(found, job, "wir haben dreißig")
    (job,), _ = found.revise([Source("we have thirty five cups", 5)], 2, 10.0)
    assert job.text == "we have 35 cups"
