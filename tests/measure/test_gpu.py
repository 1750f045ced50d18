import dataclasses
import os
import subprocess
import sys

import pytest

from harness.measure.gpu import Gpu, GpuState, GpuWatch, belonging
from tests.meters.nvml_fixture import library

ONE = Gpu(
    index=0,
    uuid="GPU-1",
    events=0,
    sm_mhz=1980.0,
    temperature_c=60.0,
    power_limit_w=700.0,
    thermal_s=0.0,
    processes=frozenset({10}),
)
TWO = dataclasses.replace(ONE, index=1, uuid="GPU-2", processes=frozenset({20, 30}))
NOBODY = frozenset()


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    path = library.build(tmp_path_factory.mktemp("driver"))
    if path is None:
        pytest.skip("no C compiler on this machine")
    return path


@pytest.fixture
def driver(compiled):
    with library.bound(compiled) as driver:
        yield driver


def test_the_gpus_that_the_cell_computes_on_are_its_own() -> None:
    assert belonging((ONE, TWO), frozenset({20}), NOBODY) == GpuState((TWO,), frozenset({30}))
    assert belonging((ONE, TWO), frozenset({10}), NOBODY) == GpuState((ONE,), NOBODY)


def test_where_numbers_of_processes_differ_those_that_came_while_opening_are_the_cells() -> None:
    assert belonging((ONE, TWO), frozenset({1}), frozenset({30})) == GpuState(
        (TWO,), frozenset({20})
    )


def test_a_driver_that_names_no_process_of_the_cell_says_nothing_about_others() -> None:
    found = belonging((ONE, TWO), frozenset({1}), NOBODY)
    assert found.gpus == (ONE, TWO)
    assert found.foreign is None
    assert found.reason


def test_this_process_and_its_children_are_not_foreign(driver) -> None:
    code = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
        driver.configure(pids=3, pid0=os.getpid(), pid1=child.pid, pid2=1)
        state = GpuWatch().read()
    assert state.foreign == frozenset({1})
    assert [gpu.index for gpu in state.gpus] == [0]


def test_what_the_driver_tells_is_read_and_the_rest_is_none(driver) -> None:
    driver.configure(clock_reasons=0x44, temperature=81, limit_watts=500, pids=0)
    (gpu,) = GpuWatch().read().gpus
    assert gpu.events == 0x44
    assert gpu.temperature_c == 81.0
    assert gpu.power_limit_w == 500.0
    assert gpu.sm_mhz is None
    assert gpu.thermal_s is None


def test_processes_that_come_while_the_session_is_opened_are_the_cells(driver) -> None:
    driver.configure(pids=1, pid0=77)
    watch = GpuWatch()
    driver.configure(pids=2, pid1=88)
    watch.opened()
    assert watch.read().foreign == frozenset({77})


def test_without_a_driver_there_is_a_reason(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    state = GpuWatch().read()
    assert state.gpus == ()
    assert state.foreign is None
    assert state.reason is not None
    assert state.reason.startswith("NVML: ")
