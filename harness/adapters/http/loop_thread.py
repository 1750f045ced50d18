"""An event loop in a thread of its own: how a client begins, keeps time, and ends."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable

from harness.adapters.http.errors import HttpError
from harness.adapters.http.loop import Ticker, thread_waited_s


class LoopThread(ABC):
    """Runs an event loop until `close`. What is handed over by other threads is `_incoming`.

    `_start_loop` is the last step of a client's making: from then on the loop runs.
    """

    def __init__(
        self,
        name: str,
        factory: Callable[[], asyncio.AbstractEventLoop],
        on_tick: Callable[[int], None],
    ) -> None:
        self._factory = factory
        self._ticker = Ticker(on_tick)
        self._woken = self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._ready = threading.Event()
        self._fault: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _start_loop(self) -> None:
        """Start the thread and wait until its loop runs; HttpError if it cannot."""
        self._thread.start()
        self._ready.wait()
        if self._fault is not None:
            raise HttpError(f"the client cannot start: {self._fault}") from self._fault

    def waited_s(self) -> float | None:
        """Return how long the client's thread has waited for a core so far; None if not told."""
        return thread_waited_s(self._thread.native_id)

    def close(self) -> None:
        """End open requests with an error; no thread, task or socket stays. May be called again.

        Called from a callback it returns before all of that is done.
        """
        if not self._closed:
            self._closed = True
            assert self._loop is not None
            assert self._stop is not None
            self._loop.call_soon_threadsafe(self._stop.set)
        if threading.current_thread() is not self._thread:
            self._thread.join()
            self._fail_incoming()

    def _wake(self, drain: Callable[[], None]) -> None:
        """Have the loop call `drain`: one wake-up for all that comes before it looks."""
        if self._woken:
            return
        self._woken = True
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(drain)
        except RuntimeError:  # closed meanwhile; whoever closes ends what is left
            self._fail_incoming()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=self._factory) as runner:
                runner.run(self._live())
        except (OSError, HttpError) as error:  # no file descriptors left
            self._fault = error
        finally:
            self._ready.set()

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._ticker.start(self._loop)
        self._ready.set()
        await self._stop.wait()
        self._ticker.stop()
        await self._end_open()

    @abstractmethod
    async def _end_open(self) -> None:
        """End, on the loop, all that is open."""

    @abstractmethod
    def _fail_incoming(self) -> None:
        """End what was handed over and not begun."""
