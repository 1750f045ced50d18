"""Compiles the fake driver library, loads it into the real binding, and gives it virtual time."""

import contextlib
import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pynvml

SOURCE = Path(__file__).with_name("nvml.c")
NAME = "libnvidia-ml.so.1"


def build(folder):
    """Return the library's path in `folder`, or None on a machine without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    path = folder / NAME
    command = [compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", path, SOURCE, "-lm"]
    subprocess.run(command, check=True)
    return path


def environment(library, settings="", **more):
    """Return the environment of a child process that finds this library as its driver."""
    kept = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    return {**kept, "LD_LIBRARY_PATH": str(library.parent), "FAKE_NVML": settings, **more}


class Driver:
    """The library loaded into this process, with its control functions."""

    def __init__(self, path):
        self.library = ctypes.CDLL(str(path))
        self.library.fake_nvml_configure.argtypes = [ctypes.c_char_p]
        self.library.fake_nvml_set_time.argtypes = [ctypes.c_int64]
        self.library.fake_nvml_true_j.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
        self.library.fake_nvml_true_j.restype = ctypes.c_double
        self.library.fake_nvml_reset()

    def configure(self, **settings):
        """Change settings; the first time after a reset starts the ticks and the profile."""
        text = " ".join(f"{name}={value}" for name, value in settings.items())
        assert self.library.fake_nvml_configure(text.encode()) == 0, text

    def reset(self):
        self.library.fake_nvml_reset()

    def set_time(self, ns):
        self.library.fake_nvml_set_time(ns)

    def true_j(self, from_ns, to_ns, gpu=0):
        return self.library.fake_nvml_true_j(gpu, from_ns, to_ns)


@contextlib.contextmanager
def bound(path):
    """Give the real binding this library, as if it were the system's; the old one comes back."""
    cache = dict(pynvml._nvmlGetFunctionPointer_cache)
    before = pynvml.nvmlLib
    driver = Driver(path)
    pynvml._nvmlGetFunctionPointer_cache.clear()
    pynvml.nvmlLib = driver.library
    try:
        yield driver
    finally:
        driver.library.fake_nvml_reset()
        pynvml.nvmlLib = before
        pynvml._nvmlGetFunctionPointer_cache.clear()
        pynvml._nvmlGetFunctionPointer_cache.update(cache)


class VirtualTime:
    """A clock, a sleep and a ticker for a meter, all on the fake driver's virtual time.

    A sleep takes `late_s` longer than asked, as a real one does.
    """

    def __init__(self, driver, late_s=60e-6):
        self.driver = driver
        self.late_s = late_s
        self.ns = 1_000_000_000
        self.action = None
        driver.set_time(self.ns)

    def now_ns(self):
        return self.ns

    def sleep(self, seconds):
        self.advance(seconds + self.late_s)

    def advance(self, seconds):
        """Let time pass, with the ticker's calls in it."""
        until_ns = self.ns + round(seconds * 1e9)
        while self.action is not None and self.due_ns <= until_ns:
            self._set(self.due_ns)
            self.due_ns += self.period_ns
            self.action()
        self._set(until_ns)

    def _set(self, ns):
        self.ns = ns
        self.driver.set_time(ns)

    def start(self, action, period_s):
        self.action = action
        self.period_ns = round(period_s * 1e9)
        self.due_ns = self.ns + self.period_ns

    def stop(self):
        self.action = None
