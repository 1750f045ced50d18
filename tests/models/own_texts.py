"""Small files of a user's own, made for tests: a tokenizer, prompts, sound, and a GGUF file."""

import json
import struct
import wave
from pathlib import Path

import numpy as np

LETTERS = "abcdefghijklmnopqrstuvwxyz .?!:"


def tokenizer_file(path: Path, *, marks: tuple[str, ...] = ("<s>", "</s>"), size: int = 64) -> Path:
    """Write a tokenizer of `size` tokens: marks, letters, and pairs; it begins a text with <s>."""
    tokens = [*marks, *LETTERS]
    tokens += [f"#{number}" for number in range(size - len(tokens))]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    document = {
        "version": "1.0",
        "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0,
                       "direction": "Right"},
        "padding": None,
        "added_tokens": [
            {"id": vocabulary[mark], "content": mark, "single_word": False, "lstrip": False,
             "rstrip": False, "normalized": False, "special": True}
            for mark in marks
        ],
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": marks[0], "type_id": 0}},
                       {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                     {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {marks[0]: {"id": marks[0], "ids": [0], "tokens": [marks[0]]}},
        },
        "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "fuse_unk": False,
                  "byte_fallback": False, "vocab": vocabulary, "merges": []},
    }  # fmt: skip
    path.write_text(json.dumps(document))
    return path


def byte_tokenizer_file(path: Path) -> Path:
    """Write a tokenizer whose 256 tokens are the bytes, each by its own number."""
    # The byte-level letters of GPT-2: a byte that prints stands for itself, others follow on 256.
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printed]
    letters = {byte: chr(byte) for byte in printed}
    letters |= {byte: chr(256 + place) for place, byte in enumerate(others)}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
             "use_regex": False}  # fmt: skip
    document = {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
        "normalizer": None, "pre_tokenizer": level, "post_processor": None, "decoder": level,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "fuse_unk": False,
                  "byte_fallback": False, "merges": [],
                  "vocab": {letters[byte]: byte for byte in range(256)}},
    }  # fmt: skip
    path.write_text(json.dumps(document))
    return path


def wav_file(
    path: Path, sound: np.ndarray, *, rate_hz: int = 16_000, bits: int = 16, channels: int = 1
) -> Path:
    """Write float `sound` [samples] in [-1, 1], the same in each channel."""
    top = 2 ** (bits - 1) - 1
    levels = np.repeat(np.rint(sound * top).astype(np.int64), channels)
    data = levels.astype("<i8").view(np.uint8).reshape(-1, 8)[:, : bits // 8].tobytes()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(bits // 8)
        file.setframerate(rate_hz)
        file.writeframes(data)
    return path


def tone(duration_s: float, *, rate_hz: int = 16_000, hertz: float = 440.0) -> np.ndarray:
    """Return a sine of amplitude 0.5."""
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(duration_s * rate_hz)) / rate_hz)


def text(value: str | bytes) -> bytes:
    """Return a string as GGUF has it."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def field(name: str, value: object) -> bytes:
    """Return a field of a GGUF header: a string, or a number of 32 bits."""
    if isinstance(value, str):
        return text(name) + struct.pack("<I", 8) + text(value)
    return text(name) + struct.pack("<II", 4, value)


FIELDS = {
    "general.architecture": "llama",
    "llama.context_length": 128,
    "llama.embedding_length": 32,
    "llama.block_count": 2,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.feed_forward_length": 64,
}


def gguf_bytes(
    *,
    fields: dict[str, object] | None = None,
    count: int | None = None,
    shape: tuple[int, ...] = (32, 64),
    kind: int = 0,
    offset: int = 0,
    data: int = 32 * 64 * 4,
    version: int = 3,
    extra: bytes = b"",
    extra_fields: int = 0,
) -> bytes:
    """Return a GGUF file with one tensor; each argument can be made wrong."""
    told = FIELDS if fields is None else fields
    head = b"GGUF" + struct.pack(
        "<IQQ", version, 1 if count is None else count, len(told) + extra_fields
    )
    head += b"".join(field(name, value) for name, value in told.items()) + extra
    head += text("token_embd.weight") + struct.pack("<I", len(shape))
    head += struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", kind, offset)
    return head + b"\0" * (-len(head) % 32) + b"\0" * data
