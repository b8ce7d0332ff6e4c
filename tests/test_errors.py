"""Messages: one line, whatever they quote."""

from __future__ import annotations

import pytest

from syntype.apps.cli import _print_error
from syntype.errors import InputError, UnknownNameError, shortened, shown_list
from syntype.recipe import RecipeError, Settings


def test_long_texts_keep_their_ends() -> None:
    assert shortened("short") == "short"
    told = shortened("/home/me/" + "deep/" * 1000 + "photographs/clownfish.jpg")
    assert len(told) == 60 and told.startswith("/home/me/") and told.endswith("photographs/clownfish.jpg")
    assert shortened("a\x1b[31mred\x07") == "a?[31mred?"


def test_lists_say_how_many_more_there_are() -> None:
    assert shown_list([]) == "none"
    assert shown_list(range(3)) == "0, 1, 2"
    assert shown_list(range(100_000), 2) == "0, 1, … (99,998 more)"


def test_errors_quote_little_of_what_is_long() -> None:
    known = [f"{'genus' * 40} {number}" for number in range(5000)]
    assert len(str(UnknownNameError("species", "x" * 100_000, known, "y" * 10_000))) < 2000
    assert len(str(InputError("is wrong", "Mend it.", file="folder/" * 5000))) < 400


def test_an_unknown_setting_is_one_short_line() -> None:
    class Config(Settings):
        size: int = 3

    with pytest.raises(RecipeError) as caught:
        Config.parse({"x" * 50_000: 1}, "settings")
    assert len(str(caught.value)) < 500 and "size" in str(caught.value)


@pytest.mark.parametrize("letter", ["x", "ä", "鱼", "👍", "x ", "\n\n a"])
def test_an_error_on_the_screen_has_at_most_two_kilobytes(letter: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert _print_error(f"table.csv: {letter * 30_000}. Give another table.", 2) == 2
    told = capsys.readouterr().err
    assert len(told.encode()) < 2000 and told.startswith("syntype: error: table.csv: ") and told.endswith("Give another table.\n")
