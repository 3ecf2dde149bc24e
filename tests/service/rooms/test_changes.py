"""What is written down for other replicas is what they read."""

from hypothesis import given
from hypothesis import strategies as st

from service.rooms import changes as c
from service.wire import protocol as p

STATS = p.FinalStats(1, 2, 3.5, 4.5)
NAMES = st.text(max_size=5)
EVENTS = st.one_of(
    st.builds(p.SourceDelta, NAMES, NAMES, NAMES, st.none() | NAMES, st.none() | NAMES),
    st.builds(p.SourceFinal, NAMES, NAMES),
    st.builds(p.TranslationDelta, NAMES, NAMES, st.integers(0, 9), NAMES, NAMES),
    st.builds(p.TranslationFinal, NAMES, NAMES, NAMES, NAMES, st.just(STATS)),
    st.builds(p.TranslationRetracted, NAMES, NAMES),
)
CHANGES = st.one_of(
    st.builds(c.Joined, NAMES, NAMES, NAMES, st.integers(0, 9)),
    st.builds(c.Left, NAMES, NAMES),
    st.builds(c.Gone, NAMES),
    st.builds(c.Reads, NAMES, st.dictionaries(NAMES, st.integers(0, 9))),
    st.builds(c.Spoke, NAMES, NAMES, NAMES, EVENTS, st.floats(0, 1e9), st.lists(NAMES).map(tuple)),
    st.builds(c.Translated, st.integers(0, 9), NAMES, NAMES),
    st.builds(c.Claimed, NAMES, NAMES),
    st.builds(c.Unclaimed, NAMES, NAMES),
    st.builds(c.Renamed, NAMES),
    st.builds(c.Guarded, st.none() | NAMES),
    st.just(c.Closed()),
)


@given(CHANGES)
def test_a_change_is_read_as_it_was_written(change: c.Change) -> None:
    assert c.decode(c.encode(change)) == change


def test_every_kind_is_tried() -> None:
    assert len(c.KINDS) == 11
