import random
import time

import pytest
import yaml

from harness.documents import load, load_document, validate
from harness.errors import SpecError
from harness.schema import Target, Workload
from harness.yaml_reader import parse_yaml
from tests.factories import make_target, make_workload

TARGET = """\
schema: 1
name: box
title: A box
description: For tests.
hardware:
  chip: Test
  vendor: Acme
  kind: cpu
  tdp_w: {value: 50, source: data sheet, date: 2026-11-01}
runtime:
  adapter: fake
  options: {a: 1, b: 1.5, c: true, d: text}
site: {tier: cloud, region: here, jurisdiction: eu}
"""
WORKLOAD = """\
schema: 1
name: chat
version: 1
title: Chat
description: For tests.
task: text_generation
model: {family: llama, vocabulary: 64, hidden: 32, layers: 2, heads: 4, kv_heads: 2,
        intermediate: 64}
inputs:
  kind: prompts
  prompt_tokens: {kind: uniform, minimum: 4, maximum: 16}
  output_tokens: {kind: fixed, value: 8}
scenarios:
  - kind: single_stream
  - {kind: server, load: [0.5, 0.8]}
slo: [{metric: ttft, percentile: 95, limit_s: 0.5}]
quality: [{kind: reference_agreement}]
demand: {requests_per_month: 1e6}
"""


def target(text=TARGET):
    return validate(parse_yaml(text.encode(), "t.yaml"), Target)


def faults(text, model=Target):
    with pytest.raises(SpecError) as caught:
        validate(parse_yaml(text.encode(), "t.yaml"), model)
    return {str(problem): problem.hint for problem in caught.value.problems}


def test_a_whole_target_keeps_types():
    read = target()
    assert read.hardware.tdp_w is not None
    assert read.hardware.tdp_w.date.isoformat() == "2026-11-01"
    options = read.runtime.options
    assert options == {"a": 1, "b": 1.5, "c": True, "d": "text"}
    assert [type(value) for value in options.values()] == [int, float, bool, str]


def test_a_whole_workload():
    read = validate(parse_yaml(WORKLOAD.encode(), "t.yaml"), Workload)
    assert read.scenario("server").load == (0.5, 0.8)
    assert read.demand.requests_per_month == 1e6


@pytest.mark.parametrize(
    ("old", "new", "problem", "hint"),
    [
        (
            "tdp_w:",
            "tdp_watt:",
            "t.yaml:9:3: hardware.tdp_watt: unknown key 'tdp_watt'",
            "did you mean 'tdp_w'?",
        ),
        ("  chip: Test\n", "", "t.yaml:6:3: hardware: missing key 'chip'", None),
        (
            "kind: cpu",
            "kind: cpi",
            "t.yaml:8:9: hardware.kind: must be one of cpu, gpu, npu, asic, fpga, is 'cpi'",
            "did you mean 'cpu'?",
        ),
        (
            "value: 50",
            'value: "50"',
            "t.yaml:9:18: hardware.tdp_w.value: must be a number, is '50'",
            "write 50, without quotes or separators",
        ),
        (
            "value: 50,",
            "value: 350000,",
            "t.yaml:9:10: hardware.tdp_w: 350,000 is more than any hardware has (50,000): the unit "
            "is in the name",
            None,
        ),
        (
            "value: 50",
            "value: 50W",
            "t.yaml:9:18: hardware.tdp_w.value: must be a number, is '50W'",
            "write the number alone, in the unit that the key names",
        ),
        (
            "kind: cpu",
            "kind: CPU",
            "t.yaml:8:9: hardware.kind: must be one of cpu, gpu, npu, asic, fpga, is 'CPU'",
            "did you mean 'cpu'?",
        ),
        (
            "  kind: cpu\n",
            "  kind: cpu\n  memory_gb: 80\n",
            "t.yaml:9:14: hardware.memory_gb: must be a mapping of keys and values, is 80",
            "as in {value: 80, source: URL or page, date: 2026-11-30}",
        ),
        (
            "  kind: cpu\n",
            "  kind: cpu\n  memory_gb: 80GB\n",
            "t.yaml:9:14: hardware.memory_gb: must be a mapping of keys and values, is '80GB'",
            "as in {value: NUMBER, source: URL or page, date: 2026-11-30}",
        ),
        (
            "value: 50",
            "value: -1",
            "t.yaml:9:18: hardware.tdp_w.value: must be at least 0, is -1",
            None,
        ),
        (
            "2026-11-01",
            "2026-13-01",
            "t.yaml:9:48: hardware.tdp_w.date: must be a date as in 2026-11-30, is '2026-13-01'",
            None,
        ),
        (
            "  kind: cpu\n",
            "  kind: cpu\n  count: 2.0\n",
            "t.yaml:9:10: hardware.count: must be a whole number, is 2.0",
            "write 2",
        ),
        (
            "  kind: cpu\n",
            "  kind: cpu\n  detect: yes\n",
            "t.yaml:9:11: hardware.detect: must be true or false, is 'yes'",
            "write true",
        ),
        (
            "vendor: Acme",
            "vendor: 5",
            "t.yaml:7:11: hardware.vendor: must be text, is 5",
            'put quotes around it: "5"',
        ),
        (
            "d: text}",
            "d: [1]}",
            "t.yaml:12:39: runtime.options.d: must be true or false, a whole number, a number or "
            "text, is [1]",
            None,
        ),
        ("schema: 1", "schema: 2", "t.yaml:1:9: schema: must be 1, is 2", None),
        ("schema: 1", "schema: true", "t.yaml:1:9: schema: must be 1, is true", None),
        ("schema: 1", "schema: 1.0", "t.yaml:1:9: schema: must be 1, is 1.0", None),
        (
            "jurisdiction: eu",
            "jurisdiction: EU",
            "t.yaml:13:49: site.jurisdiction: must be words of a-z and 0-9 joined by '-', is 'EU'",
            None,
        ),
        ("title: A box", "title: ''", "t.yaml:3:8: title: must not be empty", None),
        (
            "title: A box",
            f"title: {'x' * 2001}",
            "t.yaml:3:8: title: has 2,001 characters, at most 2,000 are allowed",
            None,
        ),
        (
            "{tier: cloud, region: here, jurisdiction: eu}",
            "cloud",
            "t.yaml:13:7: site: must be a mapping of keys and values, is 'cloud'",
            "as in {tier: …, region: …, jurisdiction: …}",
        ),
        (
            "site:",
            "price: {kind: rent, sale_unit: x, source: y, date: 2026-01-01}\nsite:",
            "t.yaml:13:8: price: a rent price needs 'usd_per_hour'",
            None,
        ),
        (
            "site:",
            "price: {kind: api, sale_unit: x, source: y, date: 2026-01-01}\nsite:",
            "t.yaml:13:8: price: an api price needs at least one above 0 of "
            "usd_per_million_input_tokens, usd_per_million_cached_input_tokens, "
            "usd_per_million_output_tokens, usd_per_request, usd_per_audio_hour",
            None,
        ),
        (
            "site:",
            "price:\n  kind: api\n  usd_per_million_input_tokens: -1\n  sale_unit: x\n"
            "  source: y\n  date: 2026-01-01\nsite:",
            "t.yaml:15:33: price.usd_per_million_input_tokens: must be at least 0, is -1",
            None,
        ),
        (
            "site:",
            "price: {kind: api, usd_per_million_input_tokens: 1, sale_unit: x, source: y, "
            "date: 2026-01-01}\nsite:",
            "t.yaml:13:8: price: 'usd_per_million_input_tokens' and "
            "'usd_per_million_output_tokens' go together",
            None,
        ),
        (
            "site:",
            "price: {kind: api, usd_per_request: 1, usd_per_hour: 1, sale_unit: x, source: y, "
            "date: 2026-01-01}\nsite:",
            "t.yaml:13:8: price: an api price has no 'usd_per_hour'",
            None,
        ),
        (
            "site:",
            "price: {kind: rent, usd_per_hour: 2, reserved_usd_per_hour: 1, sale_unit: x, "
            "source: y, date: 2026-01-01}\nsite:",
            "t.yaml:13:8: price: 'reserved_usd_per_hour' and 'commitment_years' go together",
            None,
        ),
        (
            "site:",
            "price: {kind: api, usd_per_request: 1, sale_unit: x, source: y, date: 2026-01-01}"
            "\nsite:",
            "t.yaml:13:8: price: an api price goes with 'device: remote' in 'runtime'",
            None,
        ),
    ],
)
def test_what_is_wrong_with_a_target(old, new, problem, hint):
    assert old in TARGET
    assert faults(TARGET.replace(old, new)) == {problem: hint}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("hidden: 32", "hidden: 0", "t.yaml:7:48: model.hidden: must be above 0, is 0"),
        ("heads: 4", "heads: 5", "t.yaml:7:8: model: 'hidden' must be a multiple of 'heads'"),
        (
            "family: llama",
            "family: lama",
            "t.yaml:7:17: model.family: must be one of llama, whisper, trees_mlp, lightgbm, "
            "xgboost, onnx, hugging_face, gguf, served, is 'lama'",
        ),
        ("kind: prompts\n", "count: 1\n", "t.yaml:10:3: inputs: missing key 'kind'"),
        # A key that is called like the union member it stands in.
        (
            "kind: prompts\n",
            "kind: prompts\n  prompts: {a: 1}\n",
            "t.yaml:11:3: inputs.prompts: unknown key 'prompts'",
        ),
        (
            "load: [0.5, 0.8]",
            "load: [0.8, 0.5]",
            "t.yaml:15:5: scenarios[1]: 'load' must be a rising list of shares, for example "
            "[0.5, 0.8]",
        ),
        ("load: [0.5, 0.8]", "load: [3]", "t.yaml:15:27: scenarios[1].load[0]: must be at most 2"),
        ("slo: [{", "slo: []\nsl: [{", "t.yaml:16:6: slo: needs at least 1 entry, has 0"),
        ("version: 1", "version: 1_0", "t.yaml:3:10: version: must be a whole number, is '1_0'"),
        ("task: text_gen", "task: txt_gen", "t.yaml:6:7: task: must be one of text_generation"),
    ],
)
def test_what_is_wrong_with_a_workload(old, new, problem):
    assert old in WORKLOAD
    found = faults(WORKLOAD.replace(old, new, 1), Workload)
    assert any(text.startswith(problem) for text in found), found


def test_wrong_entries_do_not_make_a_list_too_short():
    found = faults(WORKLOAD.replace("metric: ttft", "metric: tfft"), Workload)
    assert list(found) == [
        "t.yaml:16:16: slo[0].metric: must be one of latency, ttft, tpot, task_latency, is 'tfft'"
    ]


def test_all_problems_come_in_the_order_of_the_file():
    text = TARGET.replace("chip: Test", "chip: 1").replace("tier: cloud", "tier: moon")
    assert [line.split(":")[1] for line in faults(text + "extra: 1\n")] == ["6", "13", "14"]


def test_the_name_of_the_file_is_the_name(tmp_path):
    path = tmp_path / "box.yaml"
    path.write_text(TARGET)
    assert load_document(path, Target).name == "box"
    other = tmp_path / "crate.yaml"
    other.write_text(TARGET)
    with pytest.raises(SpecError, match="'box' is not the file's name 'crate'") as caught:
        load_document(other, Target)
    assert caught.value.problems[0].line == 2
    assert caught.value.hint == "call the file box.yaml"
    template = tmp_path / "_template.yaml"
    template.write_text(TARGET)
    assert load(template, Target).source.places["name",] == (2, 7)


def test_documents_survive_the_way_through_yaml(tmp_path):
    for document, model in ((make_target(), Target), (make_workload(), Workload)):
        path = tmp_path / f"{document.name}.yaml"
        path.write_text(yaml.safe_dump(document.model_dump(mode="json"), sort_keys=False))
        assert load_document(path, model) == document


PIECES = [
    *(
        "&a ",
        "*a",
        "!!python/name:os.system ",
        "!x ",
        "<<: *a\n",
        "- ",
        ": ",
        "? ",
        "\t",
        "%YAML 9",
    ),
    *(
        "\ufeff",
        "\x00",
        "\u202e",
        "\u2028",
        "\x1b[31m",
        "\\ud800",
        "'",
        '"',
        "|",
        ">-",
        "#",
        "---\n",
    ),
    *("[", "{", "]", "}", ",", "[" * 2000, "{a: " * 500, "- " * 500, "9" * 5000, "1e999", ".nan"),
    *("~", "NO", "off", "0o7", "0x1f", "1_000", "12:30:45", "2026-99-99", "true", "\n", "\r", " "),
    *(
        "kind: server",
        "family: llama",
        "prompts: 1",
        "schema: true",
        "name: ../../x",
        "\u05d0",
        "é",
    ),
]


def mutated(text, random_source):
    """Return `text` as bytes with up to three random faults in it."""
    content = text
    for _ in range(random_source.randint(0, 3)):
        at = random_source.randrange(len(content) + 1)
        to = min(len(content), at + random_source.randrange(30))
        lines = content.splitlines(keepends=True) or [""]
        content = random_source.choice(
            [
                content[:at] + random_source.choice(PIECES) + content[at:],
                content[:at] + random_source.choice(PIECES) + content[to:],
                content[:at] + content[to:],
                content[:at],
                content + random_source.choice(lines),
                "".join(random_source.sample(lines, len(lines))),
            ]
        )
    data = content.encode("utf-8", errors="surrogatepass")
    if random_source.random() < 0.15:
        at = random_source.randrange(len(data) + 1)
        data = data[:at] + random_source.randbytes(3) + data[at:]
    return data


def outcome(data, model):
    try:
        return validate(parse_yaml(data, "fuzz.yaml"), model)
    except SpecError as error:
        return error


@pytest.mark.parametrize("seed", range(8))
def test_any_file_is_a_document_or_a_spec_error(seed):
    random_source = random.Random(seed)
    documents = 0
    for number in range(100):
        text, model = ((TARGET, Target), (WORKLOAD, Workload))[number % 2]
        data = mutated(text, random_source)
        before = time.process_time()
        result = outcome(data, model)
        # Processor time: a machine that is busy with other work must not fail this.
        assert time.process_time() - before < 1, data
        if isinstance(result, SpecError):
            assert result.problems, data
            for problem in result.problems:
                assert problem.message, data
                assert problem.line or "not YAML" in problem.message, (problem, data)
        else:
            assert isinstance(result, model)
            documents += 1
    # The faults are such that some leave a whole document and most do not.
    assert 0 < documents < 50
