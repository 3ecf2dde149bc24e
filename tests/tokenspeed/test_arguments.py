"""Arguments that commands share: devices that there are, lists of numbers, pages with a file."""

from argparse import ArgumentParser, ArgumentTypeError

import pytest

from tokenspeed.arguments import (
    DEVICES,
    add_model_arguments,
    add_page_arguments,
    check_page,
    counts,
    device,
    gpu_numbers,
    positive,
)
from tokenspeed.engine.loading import BACKENDS
from tokenspeed.errors import CommandError
from tokenspeed.model.config import DEFAULT_MODEL


def test_the_devices_of_the_help_are_the_backends() -> None:
    assert DEVICES == ("auto", *BACKENDS)


def test_the_shipped_model_is_the_default() -> None:
    parser = ArgumentParser()
    add_model_arguments(parser)
    options = parser.parse_args([])
    assert (options.model, options.device) == (DEFAULT_MODEL, "auto")
    assert (options.model / "config.json").is_file()


def test_gpus_that_share_a_model_are_named_by_number() -> None:
    for name in (*DEVICES, "cuda:0,1", "cuda:2,3,4,5"):
        assert device(name) == name
    for wrong in ("tpu", "cpu:0,1", "auto:", "", "cuda:0,x", "cuda:", "cuda:0"):
        with pytest.raises(ArgumentTypeError, match="cuda:0,1"):
            device(wrong)
    assert gpu_numbers("cuda:2,3") == [2, 3]
    assert gpu_numbers("auto") == gpu_numbers("cuda") == []


def test_numbers_come_with_commas_and_count_from_one() -> None:
    assert counts("1,4,8") == [1, 4, 8]
    for wrong in ("", "1,,2", "0", "-1", "two", "1.5"):
        with pytest.raises(ArgumentTypeError, match="expected numbers such as 1,4,8"):
            counts(wrong)
    assert positive("12") == 12
    for wrong in ("", "0", "-1", "two", "1,2", "1.5"):
        with pytest.raises(ArgumentTypeError, match="expected a whole number, at least 1"):
            positive(wrong)


def test_a_page_needs_the_file_that_its_marks_name() -> None:
    parser = ArgumentParser()
    add_page_arguments(parser)
    check_page(parser.parse_args([]))
    check_page(parser.parse_args(["--page", "a.md", "--json", "a.json"]))
    with pytest.raises(CommandError, match="--page needs --json"):
        check_page(parser.parse_args(["--page", "a.md"]))
