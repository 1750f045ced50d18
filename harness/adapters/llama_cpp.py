"""llama.cpp through llama-cpp-python's bindings: GGUF files in f32, f16, q8_0 and q4_0."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.adapters.base import API_VERSION, Model, Session, Target
from harness.adapters.session import Options, SequenceSession, read_options
from harness.errors import AdapterError, PrerequisiteError, UnsupportedError
from harness.models.exports import gguf_file
from harness.schema.workload import LlamaModel

KINDS = {"fp32": "f32", "fp16": "f16", "int8": "q8_0", "int4": "q4_0"}
"""By precision: the type of the file's matrices."""
UBATCH = 512
"""Tokens of a prompt that are computed together; llama.cpp's own default."""


class LlamaCppAdapter:
    """Opens Llama models in llama.cpp. Option: threads. One text at a time."""

    api_version: ClassVar[int] = API_VERSION
    packages: ClassVar[tuple[str, ...]] = ("llama_cpp", "gguf")
    install: ClassVar[str] = "pip install 'accelerator-harness[llama-cpp]'"
    families: ClassVar[tuple[str, ...]] = ("llama",)

    def open(self, target: Target, model: Model) -> Session:
        """Load `model` on the CPU in the type that the target's precision stands for.

        Raises PrerequisiteError without the bindings, UnsupportedError for another device,
        precision or family of models.
        """
        options = read_options(target)
        try:
            import gguf
            import llama_cpp
        except ImportError as error:
            raise PrerequisiteError(
                f"the llama-cpp adapter needs llama-cpp-python and gguf: {error}",
                hint=f"{self.install} (it compiles llama.cpp, for minutes)",
            ) from error
        runtime, architecture = target.runtime, model.architecture
        if not isinstance(architecture, LlamaModel):
            raise UnsupportedError(
                f"the llama-cpp adapter runs llama models, not {architecture.family}"
            )
        if runtime.device != "cpu":
            raise UnsupportedError(f"the llama-cpp adapter drives 'cpu', not '{runtime.device}'")
        if runtime.precision not in KINDS:
            raise UnsupportedError(
                f"the llama-cpp adapter computes in {', '.join(KINDS)}, not in {runtime.precision}"
            )
        if options.max_sequences > 1:
            raise UnsupportedError("the llama-cpp adapter takes one text at a time")
        kind = KINDS[runtime.precision]
        path = gguf_file(model, kind)
        exact = kind == "f32"
        engine = _Engine(path, architecture, options, exact=exact)
        types = [str(each.tensor_type.name) for each in gguf.GGUFReader(path).tensors]
        description = {
            "runtime": "llama.cpp",
            "version": f"llama-cpp-python {llama_cpp.__version__}",
            "system": llama_cpp.llama_print_system_info().decode().strip(),
            "device": "cpu",
            "precision": runtime.precision,
            "file_type": kind,
            "cache_type": "f32" if exact else "f16",
            "threads": options.threads,
            "call": "llama_decode; the cache is the runtime's own",
            "operators": {
                "counts": {f"tensors in {name}": types.count(name) for name in sorted(set(types))},
                "unsupported": [],
                "lowered": [],
            },
            "fallbacks": [],
        }
        return SequenceSession(architecture, engine, description)


class _Engine:
    """A context of llama.cpp, driven by its C functions: its own Python loop costs more.

    `exact` keeps the cache in float32, which by default is rounded to 16 bits.
    """

    def __init__(
        self, path: Path, architecture: LlamaModel, options: Options, *, exact: bool
    ) -> None:
        import llama_cpp

        self._library: Any = llama_cpp
        self._vocabulary = architecture.vocabulary
        silent = llama_cpp.llama_log_callback(lambda level, text, data: None)
        self._silent = silent  # C keeps a pointer to it
        self._library.llama_log_set(silent, ctypes.c_void_p(0))
        self._library.llama_backend_init()
        model = self._library.llama_model_load_from_file(
            str(path).encode(), self._library.llama_model_default_params()
        )
        if not model:
            raise AdapterError(f"llama.cpp does not take {path}")
        settings = self._library.llama_context_default_params()
        settings.n_ctx = settings.n_batch = architecture.context
        settings.n_ubatch = min(UBATCH, architecture.context)
        settings.n_threads = settings.n_threads_batch = options.threads
        if exact:
            settings.type_k = settings.type_v = llama_cpp.GGML_TYPE_F32
            settings.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        context = self._library.llama_init_from_model(model, settings)
        if not context:
            self._library.llama_model_free(model)
            raise AdapterError(f"llama.cpp does not start with {path}: too little memory?")
        self._model, self._context = model, context
        self._memory = self._library.llama_get_memory(context)

    def __del__(self) -> None:
        if hasattr(self, "_context"):
            self._library.llama_free(self._context)
            self._library.llama_model_free(self._model)

    def begin(self, features: NDArray[np.float32] | None, padding: NDArray[np.int64]) -> None:
        # Only forget which positions are taken: to clear the memory as well takes milliseconds.
        self._library.llama_memory_clear(self._memory, False)

    def next_tokens(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.array([self._last(tokens).argmax()], dtype=np.int64)

    def next_logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._last(tokens)[None].copy()

    def logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        count = tokens.shape[1]
        batch = self._library.llama_batch_init(count, 0, 1)
        try:
            batch.n_tokens = count
            for place, token in enumerate(tokens[0].tolist()):
                batch.token[place], batch.pos[place] = token, place
                batch.n_seq_id[place], batch.seq_id[place][0] = 1, 0
                batch.logits[place] = 1
            self._decode(batch)
        finally:
            self._library.llama_batch_free(batch)
        return np.stack([self._row(place).copy() for place in range(count)])

    def _last(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        """Add `tokens` to the sequence; return the runtime's own logits after the last."""
        count = tokens.shape[1]
        array = (ctypes.c_int * count)(*tokens[0].tolist())
        self._decode(self._library.llama_batch_get_one(array, count))
        return self._row(-1)

    def _decode(self, batch: object) -> None:
        code = self._library.llama_decode(self._context, batch)
        if code != 0:
            raise AdapterError(f"llama_decode failed with code {code}")

    def _row(self, place: int) -> NDArray[np.float32]:
        pointer = self._library.llama_get_logits_ith(self._context, place)
        if not pointer:
            raise AdapterError(f"llama.cpp has no logits at place {place}")
        return np.ctypeslib.as_array(pointer, shape=(self._vocabulary,))
