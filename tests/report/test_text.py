import pytest
from markupsafe import Markup

from harness.report.text import LONGEST, clip, on_page, visible


def test_steering_characters_are_written_out():
    assert visible("a\u202eb\x00\x1b[0m\u200f") == "a\\u202eb\\x00\\x1b[0m\\u200f"


def test_ordinary_text_of_any_language_is_left_alone():
    text = "Rechenzentrum Zürich, 数据中心, مركز, line one\nline two\ttabbed 🧨"
    assert visible(text) == text


def test_clip_keeps_short_text_and_marks_a_cut():
    assert clip("abc", 3) == "abc"
    assert clip("abcd", 3) == "ab…"
    assert clip("ab cd", 4) == "ab…"


def test_the_page_takes_text_and_markup():
    assert on_page("a\u202e") == "a\\u202e"
    assert len(on_page("x" * (LONGEST + 1))) == LONGEST
    markup = Markup("<b>x</b>")
    assert on_page(markup) is markup


@pytest.mark.parametrize("value", [None, 1, 2.5, float("nan"), True, [], object()])
def test_the_page_refuses_bare_values(value):
    with pytest.raises(TypeError, match="prints text"):
        on_page(value)
