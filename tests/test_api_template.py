"""The template of an API: fine as it is, and fine with the price that it shows filled in."""

from pathlib import Path

import pytest

from harness.documents import validate
from harness.schema import Target
from harness.yaml_reader import parse_yaml

TEMPLATE = Path(__file__).parent.parent / "targets/opt-in/_api_template.yaml"


def read(text):
    return validate(parse_yaml(text.encode(), "t.yaml"), Target)


def filled(**figures):
    """Return the template with its price taken out of the comments, and `figures` in it."""
    lines = []
    for line in TEMPLATE.read_text(encoding="utf-8").splitlines():
        if not line.startswith(("# price:", "#   ")) or "the key" in line:
            lines.append(line)
            continue
        key = line[1:].strip().partition(":")[0]
        if key in ("price", "kind", "sale_unit", "source"):
            lines.append(line[2:])
        elif key in figures:
            lines.append(f"  {key}: {figures[key]}")
    return "\n".join(lines)


def test_the_template_states_no_price():
    text = TEMPLATE.read_text(encoding="utf-8")

    assert read(text).price is None


@pytest.mark.parametrize(
    "figures",
    [
        {"usd_per_million_input_tokens": 1, "usd_per_million_output_tokens": 2},
        {"usd_per_request": 0.01, "requests_per_minute_max": 600},
        {"usd_per_audio_hour": 0.4},
    ],
)
def test_each_kind_of_usage_that_it_shows_can_be_filled_in(figures):
    price = read(filled(**figures, date="2026-11-01")).price

    assert price.kind == "api"
    assert {name: getattr(price, name) for name in figures} == figures
