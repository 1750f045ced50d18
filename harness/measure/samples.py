"""One row per request: collected while measuring, written as Parquet, read back for study."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.measure.query import TimedQuery

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
OK, FAILED, UNSERVED = 0, 1, 2


@dataclass(slots=True)
class Samples:
    """The rows of one operating point, as growing columns; times in nanoseconds from its start.

    `first_ns` is -1 where there was no first token, `ended_ns` -1 where the request never ended.
    `status`: 0 ok, 1 failed, 2 unserved (due, but never issued before the window closed).
    """

    point: int
    start_ns: int
    rows: list[tuple[int, ...]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def add(self, query: TimedQuery, inputs: Sequence[int], tokens_in: Sequence[int]) -> None:
        """Append one row per request of `query`."""
        start = self.start_ns
        batch = len(inputs)
        for index in range(batch):
            error = query.errors[index]
            if error is not None:
                self.errors.append(f"{type(error).__name__}: {error}")
            output = query.outputs[index]
            ended = query.ended_ns[index]
            first = query.first_ns[index]
            tokens_out = query.token_counts[index]
            if output is not None and not tokens_out:
                tokens_out = len(output.tokens)
            self.rows.append(
                (
                    self.point,
                    inputs[index],
                    (query.scheduled_ns[index] if query.scheduled_ns else query.issued_ns) - start,
                    query.issued_ns - start,
                    first - start if first else -1,
                    ended - start if ended else -1,
                    tokens_in[index],
                    tokens_out,
                    batch,
                    OK if output is not None else FAILED,
                )
            )
        self.complaints.extend(query.complaints)

    def add_unserved(self, scheduled_ns: int, source: int, tokens_in: int) -> None:
        """Append a request that was due but never issued."""
        due = scheduled_ns - self.start_ns
        self.rows.append((self.point, source, due, -1, -1, -1, tokens_in, 0, 0, UNSERVED))

    def columns(self) -> dict[str, NDArray[np.int64]]:
        """Return the rows as columns by name."""
        table = np.array(self.rows, dtype=np.int64).reshape(len(self.rows), len(COLUMNS))
        table[:, 0] = self.point
        return {name: table[:, i] for i, name in enumerate(COLUMNS)}


def write_parquet(points: Sequence[Samples], path: Path) -> None:
    """Write all rows to `path`: 64-bit integers, delta-packed, zstd."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [samples.columns() for samples in points] or [Samples(0, 0).columns()]
    table = pa.table({name: np.concatenate([c[name] for c in columns]) for name in COLUMNS})
    pq.write_table(
        table,
        path,
        compression="zstd",
        use_dictionary=False,
        column_encoding={name: "DELTA_BINARY_PACKED" for name in COLUMNS},
    )


def read_parquet(path: Path) -> dict[str, NDArray[np.int64]]:
    """Return the columns that `write_parquet` wrote."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    return {name: table.column(name).to_numpy() for name in COLUMNS}
