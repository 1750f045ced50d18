"""Load for a GPU that can be switched on and off within a millisecond or two."""

import time


class MatrixLoad:
    """Multiplies bf16 matrices on the GPU that CUDA shows first."""

    SIDE = 4096

    def __init__(self):
        import torch

        self.torch = torch
        torch.zeros(1, device="cuda")

    def prepare(self):
        """Make the matrices and time one product."""
        torch = self.torch
        self.a = torch.randn(self.SIDE, self.SIDE, device="cuda", dtype=torch.bfloat16)
        self.b = torch.randn(self.SIDE, self.SIDE, device="cuda", dtype=torch.bfloat16)
        self.out = torch.empty_like(self.a)
        for count in (50, 500):  # the first warms up
            began = time.perf_counter()
            self._multiply(count)
            self.product_s = (time.perf_counter() - began) / count

    def _multiply(self, count):
        for _ in range(count):
            self.torch.mm(self.a, self.b, out=self.out)
        self.torch.cuda.synchronize()

    def busy(self, seconds):
        """Keep the GPU at full load for about this long."""
        until = time.perf_counter() + seconds
        while (left := until - time.perf_counter()) > self.product_s / 2:
            self._multiply(max(1, round(min(left, 0.05) / self.product_s)))

    def small(self):
        """Run one small kernel and wait for it."""
        self.torch.mm(self.a[:256, :256], self.b[:256, :256])
        self.torch.cuda.synchronize()

    def hold(self, gigabytes):
        """Keep this much of the GPU's memory, or 80 % of what is free where that is less."""
        free = self.torch.cuda.mem_get_info()[0]
        count = int(min(gigabytes * 1e9, 0.8 * free))
        self.held = self.torch.zeros(count, device="cuda", dtype=self.torch.uint8)
        return count / 1e9

    def release(self):
        self.held = None
        self.torch.cuda.empty_cache()


class NoLoad:
    """Takes the time of a load without one: to try the script without a GPU."""

    def prepare(self):
        self.product_s = 0.001

    def busy(self, seconds):
        time.sleep(seconds)

    def small(self):
        time.sleep(50e-6)

    def hold(self, gigabytes):
        return 0.0

    def release(self):
        pass


def wave(load, seconds, period_s, duty, jitter=None):
    """Switch the load on and off; return the share of the time that it was on.

    With a random generator `jitter` the periods vary by half, so that they beat with nothing.
    """
    began = time.perf_counter()
    on_s, due = 0.0, began
    while due < began + seconds:
        length_s = period_s * (1 if jitter is None else jitter.uniform(0.5, 1.5))
        now = time.perf_counter()
        if duty > 0:
            load.busy(max(0.0, due + duty * length_s - now))
            on_s += time.perf_counter() - now
        due += length_s
        time.sleep(max(0.0, due - time.perf_counter()))
    return on_s / (time.perf_counter() - began)
