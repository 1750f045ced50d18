"""A clock that only moves when told to, and a session whose service times are known exactly."""

from collections.abc import Callable, Mapping

from harness.adapters.base import Output, Query


class VirtualClock:
    def __init__(self) -> None:
        self.at_ns = 1_000_000_000

    def now_ns(self) -> int:
        return self.at_ns

    def wait_until_ns(self, at_ns: int) -> None:
        self.at_ns = max(self.at_ns, at_ns)

    def spend(self, seconds: float) -> None:
        self.at_ns += round(seconds * 1e9)


class KnownSession:
    """Serves one query at a time in `service_s(number)` seconds, streaming `tokens` tokens."""

    max_concurrency: int | None = 1

    def __init__(
        self,
        clock: VirtualClock,
        service_s: Callable[[int], float],
        *,
        max_batch: int = 1,
        tokens: int = 0,
        fail_every: int = 0,
    ) -> None:
        self.max_batch = max_batch
        self.clock = clock
        self.service_s = service_s
        self.tokens = tokens
        self.fail_every = fail_every
        self.batches: list[int] = []

    def describe(self) -> Mapping[str, object]:
        return {"runtime": "known"}

    def submit(self, query: Query) -> None:
        number = len(self.batches)
        self.batches.append(len(query.requests))
        total = self.service_s(number)
        steps = max(1, self.tokens)
        for _ in range(steps):
            self.clock.spend(total / steps)
            if self.tokens:
                for index in range(len(query.requests)):
                    query.tokens(index, 1)
        for index in range(len(query.requests)):
            if self.fail_every and (number + 1) % self.fail_every == 0:
                query.fail(RuntimeError("declared"), index)
            else:
                query.done(index, Output(tokens=(0,) * self.tokens, score=0.5))

    def close(self) -> None:
        pass
