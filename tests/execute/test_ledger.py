import random
from pathlib import Path

import pytest

from harness.errors import StoreError
from harness.execute.ledger import Ledger, Options, latest_unfinished, skipped
from tests.disk import files_up_to

OPTIONS = Options(("chat",), (), ("server",), "quick", 3)


def filled(root: Path, run: str = "01RUN") -> Ledger:
    ledger = Ledger.begin(root, run, OPTIONS, ["a", "b"])
    ledger.append("start", cell="a")
    ledger.append("end", cell="a", record="r", status="ok")
    return ledger


def test_what_was_written_is_read(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    assert [e["event"] for e in ledger.events()] == ["plan", "start", "end"]
    assert ledger.options() == OPTIONS
    assert not ledger.finished
    ledger.append("finish")
    assert ledger.finished


def test_cut_at_every_byte_only_the_torn_line_is_lost(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    data = ledger.path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == 10]
    for cut in range(len(data) + 1):
        ledger.path.write_bytes(data[:cut])
        whole = sum(end <= cut for end in ends)
        assert len(ledger.events()) == whole
        assert ledger.mend() is (cut not in [0, *ends])
        ledger.append("finish")
        assert [e["event"] for e in ledger.events()][-1] == "finish"
        assert len(ledger.events()) == whole + 1


def test_a_damaged_line_is_named_and_never_used(tmp_path: Path) -> None:
    ledger = filled(tmp_path)
    data = ledger.path.read_bytes()
    chance = random.Random(1)
    for _ in range(300):
        position = chance.randrange(len(data) - 1)
        bit = 1 << chance.randrange(8)
        damaged = data[:position] + bytes([data[position] ^ bit]) + data[position + 1 :]
        if damaged.count(b"\n") != data.count(b"\n"):
            continue
        ledger.path.write_bytes(damaged)
        line = data[:position].count(b"\n") + 1
        with pytest.raises(StoreError, match=f":{line}: damaged"):
            ledger.events()


def test_the_newest_unfinished_run_is_found(tmp_path: Path) -> None:
    assert latest_unfinished(tmp_path) is None
    old, new = filled(tmp_path, "01OLD"), filled(tmp_path, "02NEW")
    assert latest_unfinished(tmp_path).run == "02NEW"  # type: ignore[union-attr]
    new.append("finish")
    assert latest_unfinished(tmp_path).run == "01OLD"  # type: ignore[union-attr]
    old.append("finish")
    assert latest_unfinished(tmp_path) is None


def test_a_ledger_without_a_plan_says_so(tmp_path: Path) -> None:
    path = tmp_path / "ledger" / "01X.jsonl"
    path.parent.mkdir()
    path.write_bytes(b"")
    with pytest.raises(StoreError, match="holds no plan"):
        Ledger(path).options()
    assert latest_unfinished(tmp_path) is None


def asked(root: Path, run: str, targets: tuple[str, ...], **reasons: str) -> None:
    ledger = Ledger.begin(root, run, Options((), targets, (), "quick", 0), [])
    for target, reason in reasons.items():
        ledger.append("skip", target=target, reason=reason)
    ledger.append("finish")


def test_the_newest_run_that_was_asked_for_a_target_says_why_it_was_skipped(tmp_path: Path) -> None:
    asked(tmp_path, "01A", (), gpu="no driver", npu="no package")
    asked(tmp_path, "01B", ("gpu", "cpu"), gpu="no GPU")
    assert skipped(tmp_path) == {"gpu": "no GPU", "npu": "no package"}
    asked(tmp_path, "01C", ("gpu",))
    assert skipped(tmp_path) == {"npu": "no package"}
    asked(tmp_path, "01D", ())
    assert skipped(tmp_path) == {}


def test_a_damaged_ledger_says_nothing_of_skips(tmp_path: Path) -> None:
    asked(tmp_path, "01A", (), gpu="no GPU")
    (tmp_path / "ledger" / "01B.jsonl").write_text("damaged\nworse\n")
    assert skipped(tmp_path) == {"gpu": "no GPU"}


def test_a_disk_that_takes_a_part_of_a_line_is_an_error_and_the_rest_is_mended(
    tmp_path: Path,
) -> None:
    ledger = filled(tmp_path)
    size = ledger.path.stat().st_size
    with files_up_to(size + 10), pytest.raises(StoreError, match="cannot write"):
        ledger.append("finish")
    assert ledger.path.stat().st_size == size + 10
    assert ledger.mend()
    ledger.append("finish")
    assert ledger.finished
