"""torch.compile: compiled before anything is timed, the same answers, and what it needs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.adapters import torch_compile
from harness.adapters.base import TextRequest
from harness.adapters.torch import TorchAdapter
from harness.errors import UnsupportedError
from harness.models.build import build_model
from tests.adapters.recorder import LLAMA, ask, draw_tokens, open_session

torch = pytest.importorskip("torch")

COMPILED = """
import sys
from pathlib import Path
from harness.adapters.torch import TorchAdapter
from harness.models.build import build_model
from tests.adapters.recorder import LLAMA, open_session
folder = Path(sys.argv[1])
model = build_model(LLAMA, "text_generation", cache=folder, data=folder)
try:
    open_session(TorchAdapter, model, options={"threads": 1, "compile": True})
except Exception as error:
    print(type(error).__name__, "|", error, "|", error.hint)
"""


def test_without_a_compiler_it_says_what_is_missing(tmp_path):
    environment = {
        **os.environ,
        "CXX": str(tmp_path / "no-compiler"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor"),
    }
    done = subprocess.run(
        [sys.executable, "-c", COMPILED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=Path(__file__).parents[2],
    )
    said = done.stdout.splitlines()[-1].split(" | ")
    assert said[0] == "PrerequisiteError", done.stderr
    assert "needs a C++ compiler" in said[1]
    assert said[2].startswith("apt install g++")


def test_what_it_cannot_compile_is_unsupported():
    def breaks():
        raise RuntimeError("a part that it does not know")

    with pytest.raises(UnsupportedError, match="does not take the model: RuntimeError: a part"):
        torch_compile.warm_up(breaks)


@pytest.mark.slow
def test_compiled_answers_are_the_eager_ones(built):
    small = LLAMA.model_copy(update={"layers": 1})
    model = build_model(small, "text_generation", cache=built, data=built)
    eager = open_session(TorchAdapter, model)
    session = open_session(TorchAdapter, model, options={"threads": 2, "compile": True})
    described = session.describe()
    assert described["mode"] == "compiled by inductor"
    assert described["compiled_graphs"] > 0
    assert described["compiled_after_opening"] == 0
    for length in (1, 5, 17):
        request = TextRequest(draw_tokens(length, seed=length), 9)
        (expected,), (output,) = ask(eager, request), ask(session, request)
        assert list(output.tokens) == list(expected.tokens)
    assert eager.describe()["mode"] == "eager"
