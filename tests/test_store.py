import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.schema import Record
from harness.store import Store, Stored, folder_of, new_ulid, ulid_time
from tests.disk import files_up_to
from tests.factories import make_record


def add(store: Store, **changes) -> Stored:
    draft = store.draft()
    data = b"samples of " + draft.id.encode()
    (draft.folder / "samples.parquet").write_bytes(data)
    files = {"samples.parquet": hashlib.sha256(data).hexdigest()}
    return draft.commit(make_record(id=draft.id, files=files, **changes))


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path / "results")
    assert list(store.records()) == []
    one = add(store)
    two = add(store, scenario="offline")
    found = list(store.records())
    assert [s.record for s in found] == [one.record, two.record]
    assert [s.sha256 for s in found] == [one.sha256, two.sha256]
    assert one.folder == folder_of(store.root, one.record.id)
    assert ulid_time(one.record.id).strftime("%Y/%m/%d") in str(one.folder)
    assert store.problems == []


def test_ulids_sort_by_time_and_are_unique() -> None:
    ulids = [new_ulid() for _ in range(1000)]
    assert len(set(ulids)) == 1000
    assert [u[:10] for u in ulids] == sorted(u[:10] for u in ulids)


def test_a_draft_is_invisible_until_committed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    draft = store.draft()
    (draft.folder / "samples.parquet").write_bytes(b"x")
    assert list(store.records()) == []
    assert store.sweep() == [draft.folder]
    assert not draft.folder.exists()


def test_a_file_that_the_record_does_not_name_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path)
    draft = store.draft()
    (draft.folder / "stray").write_bytes(b"x")
    with pytest.raises(StoreError, match="not what is there"):
        draft.commit(make_record(id=draft.id, files={}))
    assert list(store.records()) == []


@pytest.mark.parametrize("damage", ["cut", "json", "number", "sample", "gone", "moved"])
def test_a_damaged_record_is_named_and_the_others_stay(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    good, bad = add(store), add(store)
    path = bad.folder / "record.json"
    text = path.read_text()
    if damage == "cut":
        path.write_text(text[: len(text) // 2])
    elif damage == "json":
        path.write_bytes(b"\xff\xfe nonsense")
    elif damage == "number":
        tree = json.loads(text)
        tree["points"][0]["metrics"]["latency_s.p50"]["value"] = None
        path.write_text(json.dumps(tree))
    elif damage == "sample":
        (bad.folder / "samples.parquet").write_bytes(b"other")
    elif damage == "gone":
        (bad.folder / "samples.parquet").unlink()
    elif damage == "moved":
        bad.folder.rename(bad.folder.with_name(new_ulid()))
    assert [s.record.id for s in store.records()] == [good.record.id]
    assert len(store.problems) == 1
    assert str(tmp_path) in store.problems[0]


def test_the_index_is_the_records_and_can_be_thrown_away(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.rows() == []
    one = add(store)
    grown = store.rows()
    two = add(store, scenario="offline")
    grown = store.rows()
    assert [row.id for row in grown] == [one.record.id, two.record.id]
    assert grown == store.rows(rebuild=True)
    assert grown[1].scenario == "offline"
    assert tmp_path / grown[0].path == one.folder
    (tmp_path / "index.sqlite").write_bytes(
        b"not a database, and long enough to be read as one" * 40
    )
    assert store.rows() == grown
    two.folder.rename(tmp_path / "elsewhere")
    assert [row.id for row in store.rows()] == [one.record.id]


def test_a_record_that_was_damaged_after_it_was_listed_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    kept, torn = add(store), add(store)
    assert len(store.rows()) == 2
    (torn.folder / "record.json").write_text("{")

    again = Store(tmp_path)

    assert [row.id for row in again.rows()] == [kept.record.id]
    assert len(again.problems) == 1
    assert str(torn.folder) in again.problems[0]


def test_only_one_run_holds_a_results_folder(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.lock():
        code = (
            "import sys; from pathlib import Path; from harness.store import Store\n"
            "try:\n"
            "    with Store(Path(sys.argv[1])).lock(): print('held')\n"
            "except Exception as error: print(error)\n"
        )
        other = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
        )
        assert f"in use by process {os.getpid()}" in other.stdout
    with Store(tmp_path).lock():
        pass


def test_a_results_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(StoreError, match=r"cannot write .*file/results") as caught,
        Store(tmp_path / "file" / "results").lock(),
    ):
        pass
    assert caught.value.hint == "name another folder with --results"


WRITER = textwrap.dedent(
    """
    import hashlib, sys
    from pathlib import Path
    from harness.store import Store
    from tests.factories import make_record
    store = Store(Path(sys.argv[1]))
    while True:
        draft = store.draft()
        (draft.folder / "samples.parquet").write_bytes(b"x" * 100_000)
        digest = hashlib.sha256(b"x" * 100_000).hexdigest()
        stored = draft.commit(make_record(id=draft.id, files={"samples.parquet": digest}))
        print(stored.record.id, flush=True)
    """
)


@pytest.mark.slow
def test_kill_minus_9_loses_no_acknowledged_record(tmp_path: Path) -> None:
    acknowledged = []
    for count in (1, 3, 5, 8, 13):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for _ in range(count):
            acknowledged.append(process.stdout.readline().strip())
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.read().split()
        process.wait()
        process.stdout.close()
    store = Store(tmp_path)
    found = [s.record.id for s in store.records()]
    assert store.problems == []
    assert set(acknowledged) <= set(found)
    assert len(found) == len(set(found))
    store.sweep()
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_full_disk_is_told_with_its_path(tmp_path: Path, monkeypatch) -> None:
    store = Store(tmp_path)
    draft = store.draft()

    def refuse(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreError, match="No space left on device") as caught:
        draft.commit(make_record(id=draft.id, files={}))
    assert draft.id in str(caught.value)
    assert caught.value.hint
    assert not folder_of(tmp_path, draft.id).exists()


def test_the_record_on_disk_is_strict_json(tmp_path: Path) -> None:
    stored = add(Store(tmp_path))
    text = (stored.folder / "record.json").read_text()
    assert Record.model_validate_json(text, strict=True) == stored.record
    assert stored.sha256 == hashlib.sha256(text.encode()).hexdigest()


def test_a_disk_that_takes_no_index_still_lets_the_records_be_listed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    whole, torn = add(store), add(store)
    (torn.folder / "record.json").write_text("{")
    with files_up_to(0):
        assert [row.id for row in store.rows()] == [whole.record.id]
        assert len(store.problems) == 1
        with pytest.raises(StoreError, match=r"cannot write .*index\.sqlite") as caught:
            store.rows(rebuild=True)
    assert caught.value.hint is not None
    assert [row.id for row in store.rows()] == [whole.record.id]


def test_a_full_disk_is_named_with_its_folder_when_a_run_begins(tmp_path: Path) -> None:
    with (
        files_up_to(0),
        pytest.raises(StoreError, match=f"cannot write {tmp_path}") as caught,
        Store(tmp_path).lock(),
    ):
        pass
    assert "free some disk space" in str(caught.value.hint)
