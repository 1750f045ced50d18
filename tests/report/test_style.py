"""The palette, read out of the style sheet: every text can be read on every ground."""

import re
from importlib import resources

import pytest

STYLE = resources.files("harness.report").joinpath("style.css").read_text(encoding="utf-8")
TEXTS = ("--ink", "--muted", "--accent", "--second", "--good", "--warn", "--bad")
GROUNDS = ("--page", "--card", "--tint")
LEAST_CONTRAST = 4.5


def palettes():
    """Return {theme: {variable: (red, green, blue)}} of the style sheet."""
    light, dark = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    found = {}
    for theme, block in (("light", light), ("dark", dark)):
        colours = re.findall(r"(--\w+): #([0-9a-f]{6});", block)
        found[theme] = {n: tuple(bytes.fromhex(code)) for n, code in colours}
    return found


def luminance(colour):
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (v / 255 for v in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first, second):
    """Return the contrast ratio of WCAG 2.2, from 1 to 21."""
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_the_ratio_is_the_published_one():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((0x76, 0x76, 0x76), (255, 255, 255)) == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("ground", GROUNDS)
def test_every_text_stands_out(theme, ground):
    colours = palettes()[theme]
    ratios = {text: contrast(colours[text], colours[ground]) for text in TEXTS}
    assert {t: round(r, 2) for t, r in ratios.items() if r < LEAST_CONTRAST} == {}


def test_both_themes_define_the_same_colours():
    found = palettes()
    assert found["light"].keys() == found["dark"].keys()
    assert set(TEXTS + GROUNDS) < found["light"].keys()


def test_only_variables_colour_text():
    rules = STYLE[STYLE.index("*, *::before") :]
    assert re.findall(r"(?<![-\w])color: (?!var\(|inherit)[^;]+", rules) == []
    used = set(re.findall(r"var\((--\w+)\)", rules))
    defined = set(re.findall(r"(--\w+):", STYLE))
    assert used <= defined


def test_print_and_phones_are_looked_after():
    assert "@media print" in STYLE
    assert "@media screen and (prefers-color-scheme: dark)" in STYLE
    assert "display: table-header-group" in STYLE
