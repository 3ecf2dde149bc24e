"""What goes along with the next sentence, against a list of all that was remembered."""

from hypothesis import given
from hypothesis import strategies as st

from service.captions.context import Context
from service.captions.settings import MAX_CONTEXT

TARGETS = st.sampled_from(("de", "fr"))
LANGUAGES = st.sampled_from((None, "en", "es"))


@given(st.lists(st.tuples(TARGETS, LANGUAGES)), TARGETS, LANGUAGES, st.integers(0, MAX_CONTEXT))
def test_the_newest_pairs_of_the_same_language_go_along(
    said: list[tuple[str, str | None]], target: str, language: str | None, count: int
) -> None:
    context = Context()
    for i, (into, spoken) in enumerate(said):
        context.add(into, [(spoken, (str(i), (i,)))])
    newest = [(spoken, i) for i, (into, spoken) in enumerate(said) if into == target]
    wanted = [i for spoken, i in newest[-MAX_CONTEXT:] if spoken == language]
    found = context.of(target, language, count)
    assert [ids for _, (ids,) in found] == wanted[max(len(wanted) - count, 0) :]
    context.clear()
    assert context.of(target, language, MAX_CONTEXT) == []
