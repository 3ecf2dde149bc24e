"""The cases of text hygiene: enough of them, all different, and judged by what they say."""

from collections import Counter

from tokenspeed.bench.quality.text.hygiene import _SENTENCES, hygiene_cases

SENTENCES = {text for _, _, text, _ in _SENTENCES}


def test_there_are_enough_of_each_kind_and_all_differ() -> None:
    cases = hygiene_cases()
    counts = Counter(case.kind for case in cases)
    assert len(counts) > 20
    assert min(counts.values()) >= 15
    assert len({(case.target, case.text) for case in cases}) >= 200
    plain = sum(case.text in SENTENCES for case in cases)  # nothing in it is composed
    assert plain < 15


def test_a_copy_of_the_source_is_right_for_texts_that_have_no_words_alone() -> None:
    for case in hygiene_cases():
        is_copied = case.kind == "hygiene/nothing to translate"
        assert case.is_right(case.text) is is_copied, case
        assert not case.is_right(f"{case.text} bla")
        assert not case.is_right("")


def test_a_sentence_says_what_the_plain_one_says() -> None:
    cases = [case for case in hygiene_cases() if case.kind == "hygiene/decomposed"]
    (case,) = [c for c in cases if c.target == "fr" and c.text.startswith("The weather")]
    assert case.is_right("Il fait beau aujourd'hui.")
    assert not case.is_right("Il fait froid aujourd'hui.")


def test_a_translation_is_right_with_all_that_was_around_it() -> None:
    right = {
        "hygiene/addresses": "Bitte schreiben Sie heute an anna.meier@example.com.",
    }
    for kind, output in right.items():
        some = [case for case in hygiene_cases() if case.kind == kind and case.is_right(output)]
        assert some, kind
        for case in some:
            assert not case.is_right(output.lower().replace("@", " at "))
