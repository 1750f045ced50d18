"""Reads a user's own files of models, tokens and sound: as data only, never as code.

A pickle runs code when it is loaded, so it is recognised and refused, whatever its name.
"""

from __future__ import annotations

from pathlib import Path

from harness.errors import SpecError

MOST_BYTES = 2_000_000_000
"""Of one file: what a protocol buffer may hold, and far above any trees."""
PICKLE = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
ZIP = b"PK\x03\x04"
"""What torch.save and joblib may write: an archive with a pickle in it."""
GZIP = (b"\x1f\x8b", b"x\x9c", b"x\x01", b"x\xda")
OLD_PICKLE = (b"(lp", b"(dp", b"ccopy_reg", b"c__builtin__", b"cos\n", b"cposix\n")
"""How pickles of protocol 0 begin: they are text."""


def read_bytes(path: Path) -> bytes:
    """Return the content of the model file `path`.

    Raises SpecError if it cannot be read, is empty, is too large, or is a pickle.
    """
    content = content_of(path, "model", MOST_BYTES)
    if not content:
        raise SpecError(f"{path} is empty")
    return content


def read_text(path: Path) -> str:
    """Return the content of the UTF-8 file `path`, line ends made one byte; raises as above."""
    try:
        return read_bytes(path).decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path} is not a text file: byte {error.start} is not UTF-8") from error


def content_of(path: Path, what: str, most_bytes: int) -> bytes:
    """Return the content of the file `path`, which messages call `what`; it may be empty.

    Raises SpecError if it cannot be read, is too large, or is a pickle.
    """
    try:
        if path.stat().st_size > most_bytes:
            raise SpecError(f"{path} is larger than {most_bytes:,} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise unreadable(path, what, error) from error
    refuse_pickle(content, path)
    return content


def state_of(path: Path, what: str) -> tuple[Path, int, int]:
    """Return what a cache knows a file by: where it is, its bytes, and when it changed (ns).

    Raises SpecError, which calls it `what`, if there is none.
    """
    try:
        state = path.stat()
    except OSError as error:
        raise unreadable(path, what, error) from error
    return path.absolute(), state.st_size, state.st_mtime_ns


def unreadable(path: Path, what: str, error: OSError) -> SpecError:
    """Return the error that the file `path`, the `what`, cannot be read."""
    return SpecError(
        f"cannot read the {what} {path}: {error.strerror}",
        hint="files are named relative to the folder of the workloads, or of their list",
    )


def refuse_pickle(content: bytes, path: Path) -> None:
    """Raise SpecError if `content`, by its first bytes, is a pickle or an archive of one."""
    pickled = content.startswith(PICKLE + OLD_PICKLE)
    if pickled or content.startswith((ZIP, *GZIP)):
        what = "a Python pickle" if pickled else "an archive, as pickles are stored in"
        raise SpecError(
            f"{path} is {what}: loading it could run any code, so it is refused",
            hint="save the model as LightGBM text, XGBoost JSON, ONNX or safetensors",
        )
