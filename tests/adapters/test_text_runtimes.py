"""onnxruntime-genai and llama.cpp: what they refuse, and what they say of themselves."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.adapters.base import ScoreTextRequest, TextRequest
from harness.adapters.genai import GenaiAdapter
from harness.adapters.llama_cpp import LlamaCppAdapter
from harness.errors import PrerequisiteError, UnsupportedError
from harness.models import llama
from harness.models.build import build_model
from harness.models.exports import genai_folder, gguf_file
from harness.models.requests import Sampling
from tests.adapters.recorder import LLAMA, ask, draw_tokens, open_session

RUNTIMES = {"onnxruntime_genai": GenaiAdapter, "llama_cpp": LlamaCppAdapter}


@pytest.fixture(params=RUNTIMES)
def adapter(request):
    pytest.importorskip(request.param)
    return RUNTIMES[request.param]


@pytest.mark.parametrize("package", RUNTIMES)
def test_without_the_runtime_it_says_what_to_install(monkeypatch, package, llama_model):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PrerequisiteError, match="needs") as caught:
        open_session(RUNTIMES[package], llama_model)
    assert "pip install" in caught.value.hint


def test_what_it_cannot_run_is_unsupported(adapter, llama_model, whisper_model, fraud_model):
    for model in (whisper_model, fraud_model):
        with pytest.raises(UnsupportedError, match="runs llama models"):
            open_session(adapter, model)
    with pytest.raises(UnsupportedError, match="not 'cuda'"):
        open_session(adapter, llama_model, device="cuda")
    with pytest.raises(UnsupportedError, match="not in bf16"):
        open_session(adapter, llama_model, precision="bf16")


def test_sampling_follows_the_seed(adapter, llama_model):
    session = open_session(adapter, llama_model)
    requests = [TextRequest(draw_tokens(5), 10, Sampling(1.0, 0.9, seed)) for seed in (1, 1, 2)]
    first, again, other = ([*ask(session, request)[0].tokens] for request in requests)
    session.close()
    assert first == again != other


def test_a_greedy_answer_after_a_sampled_one_is_its_own(adapter, llama_model):
    session = open_session(adapter, llama_model)
    greedy = TextRequest(draw_tokens(5), 10)
    (alone,) = ask(session, greedy)
    ask(session, TextRequest(draw_tokens(7), 6, Sampling(2.0, 1.0, 3)))
    (after,) = ask(session, greedy)
    session.close()
    assert list(after.tokens) == list(alone.tokens)


def test_an_answer_goes_on_after_the_runtime_s_end_token(adapter, built):
    # Of four tokens the last, which is the end of onnxruntime-genai, is soon chosen.
    few = LLAMA.model_copy(update={"vocabulary": 4})
    model = build_model(few, "text_generation", cache=built, data=built)
    prompts = [draw_tokens(6, seed=seed) % 4 for seed in range(3)]
    expected = []
    for prompt in prompts:
        tokens = prompt.tolist()
        for _ in range(16):
            tokens.append(int(llama.reference_logits(model.weights(), few, tokens)[-1].argmax()))
        expected.append(tokens[6:])
    assert any(3 in answer[:-1] and set(answer[answer.index(3) :]) > {3} for answer in expected)
    for most in (1, 3):
        session = open_session(adapter, model, options={"threads": 2, "max_batch": most})
        for start in range(0, 3, most):
            requests = [TextRequest(prompt, 16) for prompt in prompts[start : start + most]]
            answers = [list(output.tokens) for output in ask(session, *requests)]
            assert answers == expected[start : start + most]
        session.close()


@pytest.mark.parametrize("last", [0, LLAMA.vocabulary - 1])
def test_no_token_at_the_end_of_a_prompt_is_taken_for_padding(adapter, llama_model, last):
    tokens = np.append(draw_tokens(6), [last, last])
    session = open_session(adapter, llama_model)
    (scored,) = ask(session, ScoreTextRequest(tokens))
    (answer,) = ask(session, TextRequest(tokens, 2))
    session.close()
    truth = llama.reference_logits(llama_model.weights(), LLAMA, tokens)
    assert np.abs(scored.logits - truth).max() < 2e-3 * truth.std()
    assert answer.tokens[0] == truth[-1].argmax()


def test_the_folder_and_the_file_are_built_once(llama_model):
    pytest.importorskip("gguf")
    for make in (
        lambda: genai_folder(llama_model, "int4") / "model.onnx",
        lambda: gguf_file(llama_model, "q4_0"),
    ):
        stamp = make().stat().st_mtime_ns
        assert make().stat().st_mtime_ns == stamp


def test_heads_of_any_size_give_the_reference_s_logits(adapter, built):
    # The operator for attention takes multiples of 16; 20 is none.
    odd = LLAMA.model_copy(update={"hidden": 80})
    model = build_model(odd, "text_generation", cache=built, data=built)
    session = open_session(adapter, model)
    tokens = draw_tokens(20)
    (output,) = ask(session, ScoreTextRequest(tokens))
    session.close()
    truth = llama.reference_logits(model.weights(), odd, tokens)
    assert np.abs(output.logits - truth).max() < 2e-3 * truth.std()


def test_a_gguf_file_holds_every_weight_in_its_type(llama_model):
    gguf = pytest.importorskip("gguf")
    for kind, tolerance in (("f32", 0), ("f16", 1e-3), ("q8_0", 0.02), ("q4_0", 0.4)):
        reader = gguf.GGUFReader(gguf_file(llama_model, kind))
        tensors = {tensor.name: tensor for tensor in reader.tensors}
        assert len(tensors) == len(llama_model.weights())
        down = tensors["blk.1.ffn_down.weight"]
        assert down.tensor_type.name == kind.upper()
        assert tensors["output_norm.weight"].tensor_type.name == "F32"
        values = gguf.dequantize(down.data, down.tensor_type)
        exact = llama_model.weights()["model.layers.1.mlp.down_proj.weight"]
        assert values.shape == exact.shape
        assert np.abs(values - exact).max() <= tolerance * np.abs(exact).max()


def test_blocks_that_do_not_fit_are_unsupported(built):
    pytest.importorskip("gguf")
    odd = LLAMA.model_copy(update={"intermediate": 50})
    model = build_model(odd, "text_generation", cache=built, data=built)
    with pytest.raises(UnsupportedError, match="'intermediate' 50"):
        gguf_file(model, "q4_0")
    assert gguf_file(model, "f16").is_file()


def test_llama_cpp_may_speak_after_the_last_session_is_gone(tmp_path):
    pytest.importorskip("llama_cpp")
    pytest.importorskip("gguf")
    # In a process of its own: a message through a function that is gone would end this one.
    program = tmp_path / "speak.py"
    program.write_text(
        "import gc, sys\n"
        "from pathlib import Path\n"
        "import llama_cpp\n"
        "from harness.models.build import build_model\n"
        "from tests.adapters.recorder import LLAMA, open_session\n"
        "from harness.adapters.llama_cpp import LlamaCppAdapter\n"
        "place = Path(sys.argv[1])\n"
        "model = build_model(LLAMA, 'text_generation', cache=place, data=place)\n"
        "session = open_session(LlamaCppAdapter, model)\n"
        "session.close()\n"
        "del session\n"
        "gc.collect()\n"
        "wrong = [llama_cpp.llama_log_callback(lambda *_: print('wrong')) for _ in range(100)]\n"
        "settings = llama_cpp.llama_model_default_params()\n"
        "assert not llama_cpp.llama_model_load_from_file(b'nothing.gguf', settings)\n"
        "print('alive')\n"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, str(program), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert (ended.returncode, ended.stdout) == (0, "alive\n"), ended.stderr
