"""Compiles PyTorch modules before anything is timed, and says what is missing where it cannot."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import TypedDict

from harness.errors import PrerequisiteError, UnsupportedError

GRAPHS_MOST = 256
"""Ways through one module that may be compiled; the library's own limit is 8."""
LACKING = re.compile(
    r"InvalidCxxCompiler|No working C\+\+ compiler|[Tt]riton (not|is not|installation)"
)


class Settings(TypedDict):
    """What `torch.nn.Module.compile` is called with."""

    dynamic: bool
    fullgraph: bool


SETTINGS: Settings = {"dynamic": True, "fullgraph": True}
"""One graph for all lengths, and an error in place of a part that would silently stay eager."""


def warm_up(first: Callable[[], None]) -> int:
    """Call `first`, which compiles what it uses; return how many graphs there are then.

    Raises PrerequisiteError where a compiler is missing, UnsupportedError where it gives up.
    """
    import torch
    from torch.fx.experimental import _config as shapes

    with warnings.catch_warnings():
        # The library imports parts of itself that it has deprecated.
        warnings.simplefilter("ignore")
        import torch._dynamo.config as dynamo
        import torch._inductor.config as inductor

        dynamo.recompile_limit = dynamo.accumulated_recompile_limit = GRAPHS_MOST
        # Helpers would stay, and disturb what is measured.
        inductor.compile_threads = 1
        # A batch of as many sequences as the model has layers is no special case.
        shapes.use_duck_shape = False
        from torch._inductor.cpp_builder import get_cpp_compiler

        try:
            get_cpp_compiler()  # at once, and not after minutes of tracing
            first()
        except RuntimeError as error:
            text = f"{type(error).__name__}: {error}"
            if LACKING.search(text):
                cuda = torch.cuda.is_available()
                raise PrerequisiteError(
                    "torch.compile needs a C++ compiler, and on a GPU Triton: "
                    f"{text.splitlines()[0][:300]}",
                    hint="apt install g++" + (" and pip install triton" if cuda else ""),
                ) from error
            raise UnsupportedError(
                f"torch.compile does not take the model: {text[:500]}"
            ) from error
    return graphs()


def graphs() -> int:
    """Return how many graphs this process has compiled so far."""
    from torch._dynamo.utils import counters

    return int(counters["stats"]["unique_graphs"])
