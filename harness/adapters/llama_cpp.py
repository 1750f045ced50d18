"""llama.cpp through llama-cpp-python's bindings: GGUF files in f32, f16, q8_0 and q4_0."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.adapters.base import API_VERSION, Model, Session, Target
from harness.adapters.continuous import ContinuousSession
from harness.adapters.options import LocalRuntime
from harness.adapters.session import Options, SequenceSession, read_options
from harness.errors import AdapterError, PrerequisiteError, UnsupportedError
from harness.models.exports import gguf_file
from harness.models.gguf_header import PRECISIONS, read_header
from harness.schema.model import GgufModel, LlamaModel

KINDS = {"fp32": "f32", "fp16": "f16", "int8": "q8_0", "int4": "q4_0"}
"""By precision: the type of the file's matrices."""
UBATCH = 512
"""Tokens of a prompt that are computed together; llama.cpp's own default."""


class LlamaCppAdapter(LocalRuntime):
    """Opens Llama models in llama.cpp.

    Its own option: continuous (how many texts a running batch holds).
    """

    api_version: ClassVar[int] = API_VERSION
    packages: ClassVar[tuple[str, ...]] = ("llama_cpp", "gguf")
    install: ClassVar[str] = "pip install 'accelerator-harness[llama-cpp]'"
    families: ClassVar[tuple[str, ...]] = ("llama", "gguf")
    further: ClassVar[tuple[str, ...]] = ("continuous",)

    def open(self, target: Target, model: Model) -> Session:
        """Load `model` on the CPU in the type that the target's precision stands for.

        Raises PrerequisiteError without the bindings, UnsupportedError for another device,
        precision or family of models.
        """
        options = read_options(target, *self.further)
        try:
            import gguf
            import llama_cpp
        except ImportError as error:
            raise PrerequisiteError(
                f"the llama-cpp adapter needs llama-cpp-python and gguf: {error}",
                hint=f"{self.install} (it compiles llama.cpp, for minutes)",
            ) from error
        runtime, architecture = target.runtime, model.architecture
        own = own_file(model, runtime.precision)
        if own is not None:
            architecture = own
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
        kind = KINDS[runtime.precision]
        path = model.file if own is not None and model.file else gguf_file(model, kind)
        exact = kind == "f32"
        engine = _Engine(path, architecture, options, exact=exact)
        types = [str(each.tensor_type.name) for each in gguf.GGUFReader(path).tensors]
        tensors = {f"tensors in {name}": types.count(name) for name in sorted(set(types))}
        description = {
            "runtime": "llama.cpp",
            "version": f"llama-cpp-python {llama_cpp.__version__}",
            "system": llama_cpp.llama_print_system_info().decode().strip(),
            "device": "cpu",
            "precision": runtime.precision,
            "file_type": kind,
            **({"model": "the user's own file"} if own is not None else {}),
            "cache_type": "f32" if exact else "f16",
            **options.described(),
            "call": "llama_decode; the cache is the runtime's own",
            "operators": {
                "counts": tensors,
                # No other backend is loaded.
                "assigned": {"model": {name: {"llama.cpp": n} for name, n in tensors.items()}},
                "unsupported": [],
                "lowered": [],
            },
            "fallbacks": [],
        }
        if options.continuous:
            return ContinuousSession(architecture, engine, description)
        if options.max_sequences > 1:
            description["batching"] = "static, each sequence at its own length"
        return SequenceSession(architecture, engine, description, options.max_sequences)


def own_file(model: Model, precision: str) -> LlamaModel | None:
    """Return the shape of a user's own GGUF file; None if the model is none.

    UnsupportedError if most of it is in another precision than the target's, which would be a wrong
    name for what is measured.
    """
    if not isinstance(model.architecture, GgufModel) or model.file is None:
        return None
    header = read_header(model.file)
    stored = PRECISIONS.get(header.main_type)
    if stored != precision:
        called = f"which is {stored}" if stored else "for which no precision has a name"
        raise UnsupportedError(
            f"the file {model.architecture.file} is in {header.main_type}, {called}; the target "
            f"says {precision}"
        )
    return header.as_llama(model.architecture.context)


@cache
def _silent() -> object:
    """Return the function that llama.cpp calls with its messages, which says nothing.

    The library keeps a pointer to it for as long as the process lives, and so must Python.
    """
    import llama_cpp

    function: object = llama_cpp.llama_log_callback(lambda level, text, data: None)
    return function


class _Engine:
    """A context of llama.cpp, driven by its C functions: its own Python loop costs more.

    `exact` keeps the cache in float32, which by default is rounded to 16 bits.
    """

    pads = True
    batches_chosen = True

    def __init__(
        self, path: Path, architecture: LlamaModel, options: Options, *, exact: bool
    ) -> None:
        import llama_cpp

        self._library: Any = llama_cpp
        self._vocabulary = architecture.vocabulary
        self._library.llama_log_set(_silent(), ctypes.c_void_p(0))
        self._library.llama_backend_init()
        model = self._library.llama_model_load_from_file(
            str(path).encode(), self._library.llama_model_default_params()
        )
        if not model:
            raise AdapterError(f"llama.cpp does not take {path}")
        settings = self._library.llama_context_default_params()
        self.slots = sequences = options.continuous or options.max_sequences
        # The room of a sequence is n_ctx over the sequences.
        settings.n_ctx = settings.n_batch = architecture.context * sequences
        settings.n_seq_max = sequences
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
        self._lengths = [0] * sequences

    def __del__(self) -> None:
        if hasattr(self, "_context"):
            self._library.llama_free(self._context)
            self._library.llama_model_free(self._model)

    def begin(self, features: NDArray[np.float32] | None, padding: NDArray[np.int64]) -> None:
        # Only forget which positions are taken: to clear the memory as well takes milliseconds.
        self._library.llama_memory_clear(self._memory, False)
        self._padding: list[int] = padding.tolist()
        self._lengths = [0] * self.slots

    def next_tokens(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.array([row.argmax() for row in self._last(tokens)], dtype=np.int64)

    def next_logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.stack(self._last(tokens))

    def logits(self, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.score(0, tokens[0])

    def extend(self, added: Mapping[int, NDArray[np.int64]]) -> Mapping[int, NDArray[np.float32]]:
        places = self._extend({slot: each.tolist() for slot, each in added.items()}, every=False)
        return {slot: self._row(place) for slot, place in zip(added, places, strict=True)}

    def score(self, slot: int, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
        places = self._extend({slot: tokens.tolist()}, every=True)
        return np.stack([self._row(place) for place in places])

    def clear(self, slot: int) -> None:
        self._library.llama_memory_seq_rm(self._memory, slot, -1, -1)
        self._lengths[slot] = 0

    def _last(self, tokens: NDArray[np.int64]) -> list[NDArray[np.float32]]:
        """Add `tokens` to the sequences; return the runtime's own logits after the last of each."""
        if len(tokens) == 1:
            count = tokens.shape[1]
            array = (ctypes.c_int * count)(*tokens[0].tolist())
            self._decode(self._library.llama_batch_get_one(array, count))
            return [self._row(-1)]
        # Sequences have positions of their own here: what is padding elsewhere is left out.
        rows = [row[skip:] for row, skip in zip(tokens.tolist(), self._padding, strict=True)]
        self._padding = [0] * len(rows)
        places = self._extend(dict(enumerate(rows)), every=False)
        return [self._row(place) for place in places]

    def _extend(self, rows: Mapping[int, list[int]], *, every: bool) -> list[int]:
        """Add tokens to each sequence; return the places in the batch that have logits.

        Those are every one, or the last of each sequence.
        """
        count = sum(len(row) for row in rows.values())
        batch = self._library.llama_batch_init(count, 0, 1)
        wanted = []
        try:
            batch.n_tokens = count
            place = 0
            for sequence, row in rows.items():
                for index, token in enumerate(row):
                    batch.token[place] = token
                    batch.pos[place] = self._lengths[sequence] + index
                    batch.n_seq_id[place], batch.seq_id[place][0] = 1, sequence
                    batch.logits[place] = told = int(every or index == len(row) - 1)
                    if told:
                        wanted.append(place)
                    place += 1
                self._lengths[sequence] += len(row)
            self._decode(batch)
        finally:
            self._library.llama_batch_free(batch)
        return wanted

    def _decode(self, batch: object) -> None:
        code = self._library.llama_decode(self._context, batch)
        if code != 0:
            raise AdapterError(f"llama_decode failed with code {code}")

    def _row(self, place: int) -> NDArray[np.float32]:
        pointer = self._library.llama_get_logits_ith(self._context, place)
        if not pointer:
            raise AdapterError(f"llama.cpp has no logits at place {place}")
        return np.ctypeslib.as_array(pointer, shape=(self._vocabulary,))
