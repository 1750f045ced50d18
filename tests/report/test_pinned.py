from dataclasses import dataclass, field, replace

import pytest

from harness.errors import StoreError
from harness.report import pinned_records
from harness.schema import Record
from tests.factories import make_record, ulid
from tests.report.answered import answered, pin


@dataclass(frozen=True)
class Stored:
    record: Record
    sha256: str
    imports: dict[str, str] = field(default_factory=dict)


@pytest.fixture(scope="module")
def answer():
    return answered()


def stored(records):
    return [Stored(p.record, p.sha256) for p in map(pin, records)]


def test_exactly_the_pinned_records_in_the_order_of_the_decision(answer):
    decision, records = answer
    more = [make_record(number=7777), *reversed(records)]
    found = pinned_records(decision, stored(more))
    assert [r.id for r in found] == [p.id for p in decision.records]
    assert ulid(7777) not in {r.id for r in found}


def test_a_missing_record_is_refused_by_name(answer):
    decision, records = answer
    with pytest.raises(StoreError, match=f"record {records[3].id} .* is not in") as caught:
        pinned_records(decision, stored(r for r in records if r is not records[3]))
    assert "--results" in caught.value.hint


def test_a_changed_record_is_refused_with_both_digests(answer):
    decision, records = answer
    found = stored(records)
    found[2] = replace(found[2], sha256="0" * 64)
    with pytest.raises(StoreError, match=f"{found[2].record.id}.*{'0' * 64}") as caught:
        pinned_records(decision, found)
    assert "harness map branch-bank" in caught.value.hint


def test_a_record_with_another_wall_log_than_then_is_refused(answer):
    decision, records = answer
    found = stored(records)
    number = found.index(next(f for f in found if f.record.id == decision.records[2].id))
    found[number] = replace(found[number], imports={ulid(5): "a" * 64})
    with pytest.raises(StoreError, match=f"import {ulid(5)} .*a{{12}}.* now, none then"):
        pinned_records(decision, found)
    then = decision.records[2].model_copy(update={"imports": {ulid(5): "a" * 64}})
    pins = (*decision.records[:2], then, *decision.records[3:])
    again = decision.model_copy(update={"records": pins})
    assert len(pinned_records(again, found)) == len(decision.records)
    with pytest.raises(StoreError, match="none now, import"):
        pinned_records(again, stored(records))
