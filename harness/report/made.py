"""A folder of files that a command makes whole, and makes again in the same place.

Among them is SHA256SUMS, which `sha256sum -c` reads. By it the command knows a folder that it made
before: it replaces such a folder, and no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from harness import units
from harness.errors import SpecError, StoreError
from harness.files import sha256_of, whole_folder, write_whole

SUMS = "SHA256SUMS"
HINT = "name another folder with -o, or move away what is in this one"


def make_folder(
    folder: Path,
    by: str,
    files: Iterable[tuple[str, str | bytes]],
    progress: Callable[[str], None],
) -> tuple[str, ...]:
    """Write `files` (name, content) and their sums as `folder`, whole or not at all.

    Returns the names, without that of the sums. `by` is the command, such as `harness report`, and
    `progress` is told each name. A folder that `by` made gives way as a whole, so that nothing of
    the last time stays. Raises StoreError if `folder` is or holds anything else, also a file that
    was changed since; SpecError if it is the working folder or one above it.
    """
    place = folder.resolve()
    if Path.cwd().is_relative_to(place):
        raise SpecError(
            f"{folder} is the folder that you work in, and is made anew as a whole",
            hint="name a folder inside it with -o",
        )
    _check(folder, by)
    names = []
    with whole_folder(place, replace=True, hint=HINT) as temporary:
        for name, data in files:
            progress(name)
            write_whole(temporary / name, data)
            names.append(name)
        lines = [f"{sha256_of(temporary / name)}  {name}\n" for name in sorted(names)]
        write_whole(temporary / SUMS, "".join((_head(by), *lines)))
        # Again: making the files may have taken minutes.
        _check(folder, by)
    return tuple(names)


def _head(by: str) -> str:
    return f"# made by {by}, which replaces this folder while it holds nothing else\n"


def _check(folder: Path, by: str) -> None:
    """Raise StoreError if there is anything in `folder` that `by` did not write."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise StoreError(f"{folder} is there already and is no folder", hint=HINT)
    held = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }
    if not held:
        return
    sums = _sums(folder, by)
    if sums is None:
        raise StoreError(f"{folder} is there already, and {by} did not make it", hint=HINT)
    if others := sorted(held - sums.keys() - {SUMS}):
        more = f" and {units.counted(len(others) - 1, 'more file')}" if others[1:] else ""
        raise StoreError(
            f"{folder} is there already and holds {others[0]}{more}, not written by {by}", hint=HINT
        )
    for name in sorted(held - {SUMS}):
        if sha256_of(folder / name) != sums[name]:
            raise StoreError(
                f"{folder} is there already, and {name} in it was changed since {by} wrote it",
                hint=HINT,
            )


def _sums(folder: Path, by: str) -> dict[str, str] | None:
    """Return the sha256 by name that `by` wrote into `folder`; None if it wrote none."""
    try:
        text = (folder / SUMS).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    head, *lines = text.splitlines(keepends=True)
    if head != _head(by):
        return None
    pairs = (line.rstrip("\n").partition("  ") for line in lines)
    return {name: digest for digest, _, name in pairs}
