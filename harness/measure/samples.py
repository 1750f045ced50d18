"""One row per request: collected while measuring, written as Parquet, read back for study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.adapters.base import Output
from harness.measure.query import TimedQuery, no_output

COLUMNS = (
    "point",
    "input",
    "scheduled_ns",
    "issued_ns",
    "first_ns",
    "ended_ns",
    "tokens_in",
    "tokens_out",
    "batch",
    "status",
)
OK, FAILED, UNSERVED, TIMED_OUT = 0, 1, 2, 3


@dataclass(slots=True)
class Samples:
    """The rows of one operating point, as growing columns; times in nanoseconds from its start.

    `first_ns` is -1 where there was no first token, `ended_ns` -1 where the request never ended.
    Both are the same where several tokens came in one block: none was there before the others.
    `status`: 0 ok, 1 failed, 2 unserved (due, but never issued before the window closed), 3 timed
    out: not issued within the deadline (`issued_ns` -1), not answered within it (`ended_ns` -1), or
    answered too late. `extra` names the columns that rows have after the `COLUMNS`. `prompts` has
    the prompt tokens that a server counted and those it took from its cache, each with when the
    request was due. `over_ns` is when a closed loop was over in which a request was given up: that
    was waited for, and no row tells how long (0: none was).
    """

    point: int
    start_ns: int
    rows: list[tuple[int, ...]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    extra: tuple[str, ...] = ()
    prompts: list[tuple[int, int, int]] = field(default_factory=list)
    over_ns: int = 0

    def close(self, now_ns: int) -> Samples:
        """Return these samples, of a closed loop that was over at `now_ns`."""
        if any(row[5] < 0 for row in self.rows):
            self.over_ns = now_ns - self.start_ns
        return self

    def add(
        self,
        query: TimedQuery,
        inputs: Sequence[int],
        tokens_in: Sequence[int],
        deadline_ns: int | None = None,
    ) -> None:
        """Append one row per request of `query`, whose requests may take `deadline_ns` each.

        AdapterError for an answer that is no `Output`.
        """
        query.read()
        start = self.start_ns
        issued = query.issued_ns
        batch = len(inputs)
        scheduled, first, tokens = query.scheduled_ns, query.first_ns, query.token_counts
        first_counts = query.first_counts
        errors = query.errors
        for index in range(batch):
            output = query.outputs[index]
            ended = query.ended_ns[index]
            due = issued if scheduled is None else scheduled[index]
            if output is not None and not isinstance(output, Output):
                raise no_output(output)
            status = FAILED if output is None else OK
            if errors is not None and (error := errors[index]) is not None:
                self.errors.append(f"{type(error).__name__}: {error}")
            if deadline_ns is not None and (
                (not ended and query.expired) or (output is not None and ended - due > deadline_ns)
            ):
                status = TIMED_OUT
            tokens_out = 0 if tokens is None else tokens[index]
            if output is not None and not tokens_out:
                tokens_out = len(output.tokens)
            begun = first[index] if first is not None else 0
            if begun and output is not None and 1 < tokens_out == first_counts[index]:
                begun = ended
            self.rows.append(
                (
                    self.point,
                    inputs[index],
                    due - start,
                    issued - start,
                    begun - start if begun else -1,
                    ended - start if ended else -1,
                    tokens_in[index],
                    tokens_out,
                    batch,
                    status,
                )
            )
        if query.complaints:
            self.complaints.extend(query.complaints)
        for index, counts in (query.prompts or {}).items():
            due = issued if scheduled is None else scheduled[index]
            self.prompts.append((due - start, *counts))

    def add_unserved(
        self, scheduled_ns: int, source: int, tokens_in: int, status: int = UNSERVED
    ) -> None:
        """Append a request that was due but never issued."""
        due = scheduled_ns - self.start_ns
        self.rows.append((self.point, source, due, -1, -1, -1, tokens_in, 0, 0, status))

    def follow(self, stage: Samples) -> None:
        """Append `stage` as if it had begun the moment that these requests were over."""
        shift = max((max(row[2:6]) for row in self.rows), default=0)
        shift = max(shift, self.over_ns)
        if stage.over_ns:
            self.over_ns = shift + stage.over_ns
        self.rows.extend(
            (row[0], row[1], *(t + shift if t >= 0 else t for t in row[2:6]), *row[6:])
            for row in stage.rows
        )
        self.errors.extend(stage.errors)
        self.complaints.extend(stage.complaints)
        self.prompts.extend((due + shift, all_, kept) for due, all_, kept in stage.prompts)

    def by_query(self, size: int) -> Samples:
        """Return one row per query of `size` requests, which lie one after the other.

        A query ends with its last request and has streamed with the last first token. It is ok if
        all of its requests are, and has the first other status otherwise. It has no output tokens:
        the time per output token is that of each request.
        """
        whole = Samples(self.point, self.start_ns, [], self.errors, self.complaints)
        for at in range(0, len(self.rows), size):
            rows = self.rows[at : at + size]
            first, ended = [row[4] for row in rows], [row[5] for row in rows]
            whole.rows.append(
                (
                    *rows[0][:3],
                    min(row[3] for row in rows),
                    -1 if min(first) < 0 else max(first),
                    -1 if min(ended) < 0 else max(ended),
                    sum(row[6] for row in rows),
                    0,
                    len(rows),
                    next((row[9] for row in rows if row[9] != OK), OK),
                )
            )
        return whole

    def columns(self) -> dict[str, NDArray[np.int64]]:
        """Return the rows as columns by name."""
        names = (*COLUMNS, *self.extra)
        table = np.array(self.rows, dtype=np.int64).reshape(len(self.rows), len(names))
        table[:, 0] = self.point
        return {name: table[:, i] for i, name in enumerate(names)}


def write_parquet(points: Sequence[Samples], path: Path) -> None:
    """Write all rows to `path`: 64-bit integers, delta-packed, zstd."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [samples.columns() for samples in points] or [Samples(0, 0).columns()]
    names = tuple(columns[0])
    table = pa.table({name: np.concatenate([c[name] for c in columns]) for name in names})
    pq.write_table(
        table,
        path,
        compression="zstd",
        use_dictionary=False,
        column_encoding={name: "DELTA_BINARY_PACKED" for name in names},
    )


def read_parquet(path: Path) -> dict[str, NDArray[np.int64]]:
    """Return the columns that `write_parquet` wrote."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    return {name: table.column(name).to_numpy() for name in table.column_names}
