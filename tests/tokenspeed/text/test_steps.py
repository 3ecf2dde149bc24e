"""Work is done in steps, as many as there is time for, with the same result."""

from tokenspeed.text.steps import Steps, at_once, never, some_of


def count(to: int, done: list[int]) -> Steps[int]:
    for number in range(to):
        done.append(number)
        yield
    return to


def test_all_is_done_at_once() -> None:
    done: list[int] = []
    assert at_once(count(3, done)) == 3
    assert done == [0, 1, 2]


def test_what_has_no_steps_has_a_result() -> None:
    assert at_once(count(0, [])) == 0
    assert some_of(count(0, []), lambda: True) == (0,)


def test_one_step_is_done_however_little_time_is_left() -> None:
    done: list[int] = []
    steps = count(2, done)
    assert some_of(steps, lambda: True) is None
    assert done == [0]
    assert some_of(steps, lambda: True) is None
    assert some_of(steps, lambda: True) == (2,)


def test_more_is_done_while_there_is_time() -> None:
    done: list[int] = []
    assert some_of(count(5, done), lambda: len(done) == 3) is None
    assert done == [0, 1, 2]
    assert some_of(count(5, []), never) == (5,)
