import errno
import os
import stat
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from harness import files
from harness.cli import report
from harness.errors import StoreError
from harness.files import move_whole, whole_file, whole_folder, write_whole
from harness.measure import calibrate
from harness.models import build, reference
from harness.store import Store
from tests.factories import make_record


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


@pytest.fixture(params=["fsync", "replace", "rename"])
def full_disk(request, monkeypatch) -> str:
    """Let one call of the system fail from now on, as on a full disk."""

    def refuse(*arguments, **named):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, request.param, refuse)
    return request.param


def test_a_file_is_written_with_its_folder_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "page.html"
    write_whole(path, "Zürich")
    assert path.read_bytes() == "Zürich".encode()
    write_whole(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert names(path.parent) == ["page.html"]
    # As readable as any new file, which one from `tempfile` would not be.
    (plain := tmp_path / "plain").touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_data_is_synced_before_the_name_and_the_name_after(tmp_path: Path, monkeypatch) -> None:
    calls = []
    sync, replace = os.fsync, os.replace

    def noted_sync(descriptor):
        kind = "folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file"
        calls.append((kind, os.fstat(descriptor).st_size if kind == "file" else None))
        sync(descriptor)

    def noted_replace(source, to):
        calls.append(("rename", None))
        replace(source, to)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "replace", noted_replace)
    write_whole(tmp_path / "x", b"12345")
    assert calls == [("file", 5), ("rename", None), ("folder", None)]


@pytest.mark.parametrize("full_disk", ["fsync", "replace"], indirect=True)
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, full_disk: str) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")
    with pytest.raises(StoreError, match="No space left on device") as caught:
        write_whole(path, "new", hint="look elsewhere")
    assert str(path) in caught.value.message
    assert caught.value.hint == "look elsewhere"
    assert path.read_text() == "old"
    assert names(tmp_path) == ["page.html"]


def test_an_interrupted_block_leaves_the_old_file_and_passes_its_exception_on(
    tmp_path: Path,
) -> None:
    path = tmp_path / "page.html"
    path.write_text("old")

    def interrupted() -> None:
        with whole_file(path) as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    def broken() -> None:
        with whole_folder(tmp_path / "folder") as folder:
            (folder / "part").write_text("half")
            raise KeyError

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with pytest.raises(KeyError):
        broken()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["page.html"]


def test_a_folder_is_invisible_until_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "cache" / "model"
    with whole_folder(path) as folder:
        (folder / "weights").write_bytes(b"x")
        assert not path.exists()
        assert folder.name.startswith(".")
        assert folder.parent == path.parent
    assert names(tmp_path / "cache") == ["model", "weights"]


@pytest.mark.parametrize("full_disk", ["fsync", "rename"], indirect=True)
def test_a_full_disk_leaves_no_folder(tmp_path: Path, full_disk: str) -> None:
    path = tmp_path / "model"
    with pytest.raises(StoreError, match="No space left") as caught, whole_folder(path) as folder:
        (folder / "weights").write_bytes(b"x")
    assert str(path) in caught.value.message
    assert names(tmp_path) == []
    (source := tmp_path / "draft").mkdir()
    with pytest.raises(StoreError, match="No space left"):
        move_whole(source, path)
    assert names(tmp_path) == ["draft"]


def make(path: Path, name: str) -> None:
    with whole_folder(path, replace=True) as folder:
        (folder / name).write_bytes(b"x")


@pytest.mark.parametrize("at_once", [True, False])
def test_a_folder_takes_the_place_of_another_as_a_whole(
    tmp_path: Path, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not at_once:
        monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    for name in ("old", "new"):
        make(tmp_path / "out", name)
        assert names(tmp_path) == [name, "out"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux swaps two names in one step")
def test_a_folder_is_never_away_while_another_takes_its_place(tmp_path: Path) -> None:
    path = tmp_path / "out"
    make(path, "0")
    away, over = [], threading.Event()

    def watch() -> None:
        while not over.is_set():
            if not path.exists():
                away.append(True)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for turn in range(200):
        make(path, str(turn))
    over.set()
    watcher.join()
    assert not away


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_full_disk_leaves_the_old_folder_and_nothing_else(
    tmp_path: Path, fails_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "out", "old")
    rename, calls = os.rename, []

    def refuse(source: Path, to: Path) -> None:
        calls.append(source)
        if len(calls) == fails_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        rename(source, to)

    monkeypatch.setattr(files, "_exchange", lambda one, other: False)
    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(StoreError, match="No space left"):
        make(tmp_path / "out", "new")
    assert names(tmp_path) == ["old", "out"]


def _record(folder: Path) -> None:
    store = Store(folder)
    draft = store.draft()
    try:
        draft.commit(make_record(id=draft.id, files={}))
    finally:
        draft.discard()


def _calibration(folder: Path) -> None:
    from tests.measure.test_calibrate import make_calibration

    calibrate.save(make_calibration(), folder)


def _model(folder: Path) -> None:
    build.build_once(folder / "onnx", lambda temporary: (temporary / "x").write_bytes(b"x"))  # type: ignore[arg-type,return-value]


def _reference(folder: Path) -> None:
    reference.keep(folder, "0" * 64, 1, lambda: [np.zeros(3)])


def _report(folder: Path) -> None:
    report.write_whole(folder / "question.html", "page")


@pytest.mark.parametrize("full_disk", ["fsync"], indirect=True)
@pytest.mark.parametrize("write", [_record, _calibration, _model, _reference, _report])
def test_nothing_that_the_harness_keeps_is_there_in_part(
    tmp_path: Path, full_disk: str, write
) -> None:
    with pytest.raises(StoreError, match="No space left") as caught:
        write(tmp_path)
    assert str(tmp_path) in caught.value.message
    # Folders may have been made, and the lock of a cache.
    assert [p for p in tmp_path.rglob("*") if p.is_file() and p.suffix != ".lock"] == []
