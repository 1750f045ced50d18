"""docs/retail-bank.md: every number is recomputed, every quoted line is what the mapper says."""

import re
from pathlib import Path

import pytest

from harness.cli.map import _text
from tests.retail_bank import MEASURED, decision

PAGE = (Path(__file__).parents[1] / "docs" / "retail-bank.md").read_text()
SHOWN = re.compile(r"^(\w+) = .*  # (-?[\d.]+)$", re.MULTILINE)
DECISION = decision()
CHAT, SPEECH, FRAUD = DECISION.workloads


@pytest.fixture(scope="module")
def computed():
    """Return what the page's formulas give, by name."""
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, names)
    return names


def option(answer, target):
    return next(each for each in answer.options if each.target == target)


def test_every_number_shown_is_the_one_computed(computed):
    shown = SHOWN.findall(PAGE)

    assert len(shown) > 25
    for name, text in shown:
        digits = len(text.partition(".")[2])
        assert computed[name] == pytest.approx(float(text), abs=0.5000001 * 10**-digits), name


def test_the_formulas_give_what_the_mapper_decided(computed):
    first, second, third = (
        option(CHAT, name) for name in ("cpu-openvino", "cpu-onnxruntime", "cpu-torch")
    )
    best, next_best = (option(SPEECH, name) for name in ("cpu-openvino", "cpu-onnxruntime"))
    torch = next(o for o in SPEECH.outcomes if o.target == "cpu-torch").rejections[0]
    (way_out,) = FRAUD.relaxations
    decided = {
        "chat_mean": CHAT.mean_rate,
        "chat_busiest": CHAT.peak_rate,
        "chat_units": first.replicas,
        "chat_runner_up_units": second.replicas,
        "chat_third_units": third.replicas,
        "chat_usd": first.cost_per_year_usd,
        "chat_usd_per_million": first.cost_per_unit_usd.value,
        "chat_full": first.cost_per_unit_full_usd.value,
        "chat_runner_up_full": second.cost_per_unit_full_usd.value,
        "chat_utilisation": first.utilisation,
        "speech_busiest": SPEECH.peak_rate,
        "speech_units": best.replicas,
        "speech_runner_up_units": next_best.replicas,
        "speech_usd": best.cost_per_year_usd,
        "speech_runner_up_usd": next_best.cost_per_year_usd,
        "speech_usd_per_thousand": best.cost_per_unit_usd.value,
        "speech_audio_hour_usd": best.cost_per_audio_hour_usd.value,
        "speech_torch_meets": torch.p_meets,
        "fraud_busiest": FRAUD.peak_rate,
        "fraud_usd": way_out.usd_per_year,
    }

    assert {name: computed[name] for name in decided} == pytest.approx(decided, abs=1e-12)
    offers = {offer.price.usd_per_hour for offer in DECISION.brief.offers}
    assert offers == {computed["hour_usd"]}
    electricity = DECISION.brief.economics.electricity_usd_per_kwh.value
    assert computed["electricity_usd"] == pytest.approx(electricity, abs=5e-4)


def test_every_line_quoted_is_one_of_the_answer():
    answer = " ".join(" ".join(_text(each)) for each in DECISION.workloads)
    said = " ".join(answer.split())
    quotes = re.findall(r"(?:^> .*\n)+", PAGE, re.MULTILINE)

    assert len(quotes) > 10
    for quote in quotes:
        line = " ".join(quote.replace("\n> ", " ").removeprefix("> ").split())
        assert line in said, line


def test_the_table_of_the_page_holds_the_figures_of_the_example():
    for workload, by_target in MEASURED.items():
        for target, (rate, values_s) in by_target.items():
            row = next(
                line for line in PAGE.splitlines() if line.startswith(f"| {workload} | {target} |")
            )
            throughput, quantiles = row.split("|")[3:5]
            assert float(throughput.split()[0]) == rate
            found = re.findall(r"([\d.]+) (ms|s)\b", quantiles)
            in_s = [float(number) * {"ms": 1e-3, "s": 1}[unit] for number, unit in found]
            assert in_s == pytest.approx(values_s)


def test_two_workloads_have_an_answer_and_the_third_its_least_way_out():
    assert (CHAT.choice.target, SPEECH.choice.target) == ("cpu-openvino", "cpu-openvino")
    assert FRAUD.choice is None
    assert [each.rule for each in FRAUD.relaxations] == ["edge_latency"]
    assert DECISION.warnings == ()
