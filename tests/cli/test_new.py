"""`harness new target`: the file is valid, says what was said, and invents nothing."""

from datetime import date

import pytest
from click.testing import CliRunner

from harness.catalog import load_document
from harness.cli import main
from harness.cli.new import quoted
from harness.schema import Target
from harness.yaml_reader import parse_yaml

WHERE = ["--server", "http://127.0.0.1:8000/v1", "--protocol", "openai-chat"]
WHAT = ["--model", "acme/chat-8b", "--chip", "Acme X1", "--kind", "npu", "--precision", "bf16"]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_CATALOG", raising=False)
    return tmp_path


def new(*arguments, status=0, name="my-server"):
    command = ["new", "target", name, *WHERE, *WHAT, *arguments]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == status, result.output
    return result.output


def test_the_file_is_valid_and_says_what_was_said(place):
    output = new("--tier", "edge", "--jurisdiction", "eu", "--count", "4", "--vendor", "Acme")
    target = load_document(place / "targets" / "my-server.yaml", Target)
    assert (target.hardware.chip, target.hardware.kind, target.hardware.count) == (
        "Acme X1",
        "npu",
        4,
    )
    assert target.hardware.vendor == "Acme"
    assert (target.site.tier, target.site.jurisdiction) == ("edge", "eu")
    assert target.runtime.adapter == "http"
    assert target.runtime.precision == "bf16"
    assert target.server is not None
    assert target.server.url == "http://127.0.0.1:8000/v1"
    assert target.server.model == "acme/chat-8b"
    assert "next: harness plan -t my-server --catalog ." in output


def test_nothing_of_the_template_is_taken_for_a_fact(place):
    output = new()
    text = (place / "targets" / "my-server.yaml").read_text()
    target = load_document(place / "targets" / "my-server.yaml", Target)
    assert target.price is None
    assert target.site.jurisdiction == "not-stated"
    assert (target.hardware.vendor, target.site.region) == ("not stated", "not stated")
    assert target.hardware.memory_gb is None
    assert "Vendor X1" not in text
    assert "us-east-1" not in text
    assert "not stated: vendor, region, jurisdiction, price" in output
    # The template's explanations are still there.
    assert "# concurrency: 64" in text


def test_a_price_has_its_source_and_today(place):
    new("--usd-per-hour", "2.5", "--price-source", "price list of Acme: page 3")
    price = load_document(place / "targets" / "my-server.yaml", Target).price
    assert price is not None
    assert (price.usd_per_hour, price.source) == (2.5, "price list of Acme: page 3")
    assert abs((date.today() - price.date).days) <= 1


def test_a_price_without_a_source_is_refused(place):
    assert "go together" in new("--usd-per-hour", "2.5", status=2)
    assert not (place / "targets").exists()


def test_further_keys_of_the_server_are_set(place):
    new(
        "--set", "end_mark=finish_reason", "--set", "length=[min_tokens]", "--api-key-env", "MY_KEY"
    )  # fmt: skip
    server = load_document(place / "targets" / "my-server.yaml", Target).server
    assert server is not None
    assert (server.end_mark, server.length) == ("finish_reason", ("min_tokens",))
    assert server.api_key is not None
    assert server.api_key.env == "MY_KEY"


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("end_mark=never", "must be one of done, finish_reason"),
        ("model=other", "'model' is no optional key of 'server'"),
        ("end_marks=done", "'end_marks' is no optional key of 'server'"),
        ("end_mark", "is not KEY=YAML"),
        ("timeout_s=5\n  usage: false", "is not KEY=YAML"),
    ],
)
def test_a_wrong_setting_writes_nothing(place, setting, words):
    assert words in new("--set", setting, status=2)
    assert not (place / "targets").exists()


def test_an_existing_file_is_left_as_it_is(place):
    new()
    path = place / "targets" / "my-server.yaml"
    path.write_text("mine\n")
    assert "is there already" in new(status=2)
    assert path.read_text() == "mine\n"


@pytest.mark.parametrize("name", ["My-Server", "../other", "a_b", ""])
def test_a_name_that_is_no_name_is_refused(place, name):
    assert "is no name" in new(status=2, name=name)
    assert not list(place.iterdir())


KEY = "sk-canary0Zq7vX3pL9mK2rT8w"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--server", f"http://me:{KEY}@127.0.0.1/v1"],
        ["--server", f"http://127.0.0.1/v1?key={KEY}"],
        ["--api-key-env", KEY],
        ["--set", f"api_key={KEY}"],
        ["--set", KEY],
        ["--set", f'extra={{api_key: "{KEY}"}}'],
        ["--model", KEY],
    ],
)
def test_a_key_is_refused_and_neither_shown_nor_written(place, arguments):
    assert KEY not in new(*arguments, status=2)
    assert not (place / "targets").exists()


@pytest.mark.parametrize(
    "text", ["a", "true", "null", "1e3", "a: b", "a #b", "- a", 'say "x"', "é", "{a}", "x-"]
)
def test_any_text_is_read_back_as_it_was(text):
    assert parse_yaml(f"key: {quoted(text)}\n".encode(), "x").tree == {"key": text}
