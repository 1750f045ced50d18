"""A user's own prompts, recordings and model folders: the pages' YAML files, run end to end."""

import json
import re
import shutil
from pathlib import Path

import pytest

from harness.store import Store
from tests.adapters.http.served import make_served
from tests.cli.test_own_answers import harness, write
from tests.factories import make_target
from tests.models.own_texts import gguf_bytes, tokenizer_file, tone, wav_file
from tests.servers.process import Reference

DOCS = Path(__file__).parents[2] / "docs"
LLAMA = {
    "model_type": "llama", "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64,
    "max_position_embeddings": 128, "tie_word_embeddings": True, "rms_norm_eps": 1e-5,
}  # fmt: skip


def example(page: str, name: str) -> str:
    """Return the YAML file called `name` that a page shows whole."""
    blocks = re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(), flags=re.DOTALL)
    (block,) = [block for block in blocks if f"name: {name}\n" in block]
    return block


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """What the pages tell a user to have, for all of their examples."""
    from harness.models.llama import draw_weights
    from harness.models.weights import save_weights
    from harness.schema.model import LlamaModel

    folder = tmp_path / "catalog" / "workloads"
    data = folder / "data"
    data.mkdir(parents=True)
    for page, name in (
        ("inputs.md", "assistant"), ("inputs.md", "calls"), ("models.md", "own-llama"),
    ):  # fmt: skip
        (folder / f"{name}.yaml").write_text(example(page, name))
    talk = [{"role": "user", "content": "where is my parcel?"}]
    lines = [{"messages": talk, "answer_tokens": n} for n in (10, 14)]
    (data / "prompts.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    asked = [{"prompt": f"{n}. Repeat: {n}", "pattern": rf"\b{n}\b"} for n in range(20)]
    (data / "questions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in asked))
    wav_file(data / "a.wav", tone(0.4, rate_hz=8_000), rate_hz=8_000)
    (data / "calls.csv").write_text('file,transcript\na.wav,"Alpha, bêta; gamma"\n')
    (data / "prompts.txt").write_text("where is my parcel?\nhow much is it?\n")
    (data / "text.txt").write_text("the parcel is on its way and will be there soon. " * 12)
    own = folder / "my-llama"
    own.mkdir()
    (own / "config.json").write_text(json.dumps(LLAMA))
    tokenizer_file(own / "tokenizer.json")
    model = LlamaModel(
        family="llama", vocabulary=64, hidden=32, layers=2, heads=4, kv_heads=2,
        intermediate=64, context=128,
    )  # fmt: skip
    save_weights(draw_weights(model), own / "model.safetensors")
    return tmp_path


def only(place: Path, name: str) -> Path:
    """Leave only the workload `name`; return its file."""
    for path in (place / "catalog" / "workloads").glob("*.yaml"):
        if path.stem != name:
            path.unlink()
    return place / "catalog" / "workloads" / f"{name}.yaml"


def run(place: Path, workload: str, *targets: str):
    """Run one scenario of `workload` on `targets`, and on nothing of the checkout."""
    named = [part for target in targets for part in ("-t", target)]
    options = ["-s", "single_stream", "--results", "results"]
    return harness(place, "run", "-w", workload, *named, *options)


def measured(place: Path) -> dict:
    stored = Store(place / "results").records()
    return {(r.record.target.name, r.record.cell.scenario.kind): r.record for r in stored}


def test_the_pages_examples_are_fine(place):
    ended = harness(place, "validate", "catalog")
    assert (ended.returncode, ended.stdout) == (0, "3 files fine\n")


@pytest.mark.slow
def test_own_prompts_of_the_page_are_measured_on_a_server(place):
    only(place, "assistant")
    with Reference() as server:
        write(place / "catalog" / "targets", make_served(server.url("ttft_s=0.002")))
        ended = run(place, "assistant", "served")
    assert ended.returncode == 0, ended.stderr
    record = measured(place)["served", "single_stream"]
    assert record.status == "ok", record.failure
    assert record.quality_passed
    assert set(record.cell.files) == {"data/prompts.jsonl", "data/questions.jsonl"}
    assert record.session["prompt_tokens_by_server"] == 4


@pytest.mark.slow
def test_own_recordings_of_the_page_are_sent_and_their_words_are_counted(place):
    only(place, "calls")
    with Reference() as server:
        url = server.url("ttft_s=0.002,tokens=3")
        write(place / "catalog" / "targets", make_served(url, protocol="openai-transcriptions"))
        ended = run(place, "calls", "served")
    assert ended.returncode == 0, ended.stderr
    record = measured(place)["served", "single_stream"]
    assert record.status == "ok", record.failure
    (check,) = record.quality
    assert (check.metric, check.value, check.passed) == ("word_error_rate", 0.0, True)
    assert check.reason == "of 3 words in 1 recordings"
    assert set(record.cell.files) == {"data/calls.csv", "data/a.wav"}


@pytest.mark.slow
def test_the_pages_folder_is_measured_on_two_runtimes_and_agrees_with_its_reference(place):
    pytest.importorskip("torch")
    only(place, "own-llama")
    for name in ("torch", "onnxruntime", "lightgbm"):
        runtime = {"adapter": name, "options": {} if name == "lightgbm" else {"threads": 1}}
        write(place / "catalog" / "targets", make_target(name, runtime=runtime))
    ended = run(place, "own-llama", "torch", "onnxruntime", "lightgbm")
    assert ended.returncode == 0, ended.stderr
    records = measured(place)
    names = {"data/prompts.txt", "data/text.txt"}
    names |= {f"my-llama/{n}" for n in ("config.json", "model.safetensors", "tokenizer.json")}
    for name in ("torch", "onnxruntime"):
        record = records[name, "single_stream"]
        assert record.status == "ok", record.failure
        checks = {check.metric: check for check in record.quality}
        assert checks["perplexity_ratio"].value == pytest.approx(1, abs=1e-4)
        assert all(check.passed for check in checks.values())
        assert set(record.cell.files) == names
        assert record.session["inputs"]["prompt_tokens"] == {
            "mean": 18.0, "minimum": 16, "maximum": 20,
        }  # fmt: skip
        shape = record.session["model_shape"]
        assert (shape["family"], shape["layers"], shape["hidden"]) == ("llama", 2, 32)
    refused = records["lightgbm", "single_stream"]
    assert refused.status == "unsupported"
    sha = {
        records[n, "single_stream"].session["inputs"]["sha256"] for n in ("torch", "onnxruntime")
    }
    assert len(sha) == 1


@pytest.mark.parametrize(
    ("workload", "file", "content", "said"),
    [
        (
            "assistant",
            "data/prompts.jsonl",
            b'{"prompt": "a"}\n{\n',
            r"prompts\.jsonl:2:2: not JSON",
        ),
        (
            "assistant",
            "data/questions.jsonl",
            b'{"prompt": "a"}\n',
            r"questions\.jsonl:1:1: needs a",
        ),
        ("calls", "data/a.wav", b"RIFF", r"calls\.csv:2:1: .*not a WAV file"),
        ("calls", "data/calls.csv", b"file\na.wav\n", r"calls\.csv:2:1: there are no words"),
        ("own-llama", "my-llama/config.json", b"{}", r"own-llama\.yaml:9:11: model\.folder: "),
        (
            "own-llama",
            "my-llama/tokenizer.json",
            b"\x80\x04.",
            r"own-llama\.yaml:\d+:\d+: .*pickle",
        ),
        ("own-llama", "data/prompts.txt", b"a" * 130, r"prompts\.txt:1:1: 131 tokens"),
        ("own-llama", "data/prompts.txt", None, r"own-llama\.yaml:\d+:\d+: inputs\.file: no such"),
    ],
)
def test_validate_names_what_is_wrong_in_the_users_files(place, workload, file, content, said):
    only(place, workload)
    path = place / "catalog" / "workloads" / file
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    ended = harness(place, "validate", "catalog")
    assert ended.returncode == 2
    assert re.search(said, ended.stdout), ended.stdout


GGUF = """  family: gguf
  file: m.gguf
  context: 128
"""


def as_gguf(place: Path) -> Path:
    path = only(place, "own-llama")
    text = path.read_text().replace("  family: hugging_face\n  folder: my-llama\n", GGUF)
    text = text.replace(
        "file: data/prompts.txt", "file: data/prompts.txt\n  tokenizer: tokenizer.json"
    )
    gate = (
        "{kind: exact_answers, file: data/questions.jsonl, tokenizer: tokenizer.json, "
        "accuracy_min: 0.5}"
    )
    path.write_text(re.sub(r"\{kind: own_text.*\}", gate, text))
    shutil.copy(path.parent / "my-llama" / "tokenizer.json", path.parent)
    return path.parent / "m.gguf"


@pytest.mark.slow
def test_a_gguf_file_is_run_by_llama_cpp_and_by_nothing_else(place):
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is compiled for minutes: an extra")
    from harness.models.llama import draw_weights
    from harness.models.llama_gguf import build_gguf
    from harness.schema.model import LlamaModel

    model = LlamaModel(
        family="llama", vocabulary=64, hidden=32, layers=2, heads=4, kv_heads=2,
        intermediate=64, context=128,
    )  # fmt: skip
    build_gguf(draw_weights(model), model, as_gguf(place), "f16")
    for name, precision in (("llama-cpp", "fp16"), ("onnxruntime", "fp32")):
        runtime = {"adapter": name, "precision": precision, "options": {"threads": 1}}
        write(place / "catalog" / "targets", make_target(name, runtime=runtime))
    assert harness(place, "validate", "catalog").returncode == 0
    ended = run(place, "own-llama", "llama-cpp", "onnxruntime")
    assert ended.returncode == 0, ended.stderr
    records = measured(place)
    record = records["llama-cpp", "single_stream"]
    assert record.status == "ok", record.failure
    assert record.session["model"] == "the user's own file"
    assert record.session["model_shape"]["hidden"] == 32
    file = place / "catalog" / "workloads" / "m.gguf"
    assert record.session["weight_bytes"] == file.stat().st_size
    # Random weights know no answers, and the gate says so.
    assert not record.quality_passed
    assert record.quality[0].reason.startswith("0 of 20 answers are right")
    assert "m.gguf" in record.cell.files
    refused = records["onnxruntime", "single_stream"]
    assert refused.status == "unsupported"
    assert "'gguf'" in refused.failure.message or "GGUF" in refused.failure.message


def test_a_gguf_file_with_huge_counts_is_refused_by_validate(place):
    as_gguf(place).write_bytes(gguf_bytes(count=2**62))
    ended = harness(place, "validate", "catalog")
    assert ended.returncode == 2
    assert re.search(r"own-llama\.yaml:\d+:\d+: model\.file: .*the number of tensors", ended.stdout)
