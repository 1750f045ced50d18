"""The settings of this system that change performance: kernel, clocks, container, by allow-list."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from harness.hardware import control_groups, cpu_folder, read
from harness.schema.record import EnvironmentField

CONTAINER_MARKS = {"/.dockerenv": "docker", "/run/.containerenv": "podman"}
CONTAINER_GROUPS = ("kubepods", "docker", "containerd", "lxc", "libpod")
BYTES_PER_KB = 1024


def settings(cpus: Collection[int], root: Path = Path("/")) -> dict[str, EnvironmentField]:
    """Return the settings by name; `cpus` are the logical CPUs this process may run on.

    A setting that this system does not have is not applicable; one that cannot be read says why.
    The kernel's files are looked for under `root`.
    """
    memory = root / "sys/kernel/mm/transparent_hugepage"
    kernel = root / "proc/sys/kernel"
    cpu = root / "sys/devices/system/cpu"
    return {
        "cpu_boost": _boost(min(cpus), root),
        "cpu_current_mhz": _current_mhz(cpus, root),
        "cpus_online": _file(cpu / "online"),
        "cpus_allowed": EnvironmentField(value=_ranges(cpus)),
        "isolated_cpus": _file(cpu / "isolated", empty="none are isolated"),
        "smt": _file(
            cpu / "smt/control", {"notsupported": "not supported", "notimplemented": "none"}.get
        ),
        "transparent_huge_pages": _file(memory / "enabled", _chosen),
        "numa_balancing": _file(
            kernel / "numa_balancing",
            {"0": "off", "1": "on", "2": "memory tiering"}.get,
            absent="the kernel has no NUMA balancing",
        ),
        "address_randomisation": _file(
            kernel / "randomize_va_space", {"0": "off", "1": "partial", "2": "full"}.get
        ),
        "clock_source": _file(
            root / "sys/devices/system/clocksource/clocksource0/current_clocksource"
        ),
        "cpu_mitigations": _mitigations(cpu / "vulnerabilities"),
        "swap_gb": _swap(root / "proc/meminfo"),
        "container": _container(root),
    }


def _file(
    path: Path,
    words: Callable[[str], str | None] | None = None,
    *,
    empty: str | None = None,
    absent: str | None = None,
) -> EnvironmentField:
    """Return the text of `path`, in `words` where they know it.

    `empty` and `absent` say what an empty or missing file means, where it means that there is
    nothing to read.
    """
    if absent is not None and not path.exists():
        return EnvironmentField(value=None, not_applicable=absent)
    found = read(path)
    if found.value is None:
        if empty is not None and path.exists() and (found.reason or "").endswith("empty"):
            return EnvironmentField(value=None, not_applicable=empty)
        return EnvironmentField(value=None, unavailable=found.reason)
    text = str(found.value)
    return EnvironmentField(value=(words(text) if words else None) or text)


def _chosen(text: str) -> str | None:
    match = re.search(r"\[(.+?)\]", text)
    return match[1] if match else None


def _ranges(cpus: Collection[int]) -> str:
    """Return numbers as the kernel lists them: 0-3,8."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _boost(cpu: int, root: Path) -> EnvironmentField:
    """Return whether the clocks may rise above their base rate."""
    intel = read(root / "sys/devices/system/cpu/intel_pstate/no_turbo")
    if intel.value in ("0", "1"):
        return EnvironmentField(value="on" if intel.value == "0" else "off")
    for path in (cpu_folder(cpu, root) / "cpufreq", root / "sys/devices/system/cpu/cpufreq"):
        found = read(path / "boost")
        if found.value in ("0", "1"):
            return EnvironmentField(value="on" if found.value == "1" else "off")
    return EnvironmentField(value=None, unavailable="the kernel does not tell")


def _current_mhz(cpus: Collection[int], root: Path) -> EnvironmentField:
    """Return the clock rate of the fastest of `cpus` now; a virtual machine tells a nominal one."""
    found = [read(cpu_folder(cpu, root) / "cpufreq/scaling_cur_freq") for cpu in sorted(cpus)]
    rates = [int(str(f.value)) / 1000 for f in found if str(f.value or "").isdigit()]
    if not rates:
        text = str(read(root / "proc/cpuinfo").value or "")
        rates = [float(mhz) for mhz in re.findall(r"(?m)^cpu MHz\s*: (\d+(?:\.\d+)?)$", text)]
    if not rates:
        return EnvironmentField(value=None, unavailable="the kernel does not tell")
    return EnvironmentField(value=round(max(rates), 1))


def _mitigations(folder: Path) -> EnvironmentField:
    """Return how many of the processor's known flaws the kernel works around, at a cost in time."""
    states = [str(read(path).value or "") for path in sorted(folder.glob("*"))]
    if not states:
        return EnvironmentField(value=None, unavailable=f"{folder}: nothing to read")
    mitigated = sum(state.startswith("Mitigation") for state in states)
    open_ = sum(state.startswith("Vulnerable") for state in states)
    return EnvironmentField(value=f"{mitigated} flaws mitigated, {open_} open")


def _swap(path: Path) -> EnvironmentField:
    """Return the size of the swap in GB (10^9 bytes)."""
    match = re.search(r"(?m)^SwapTotal:\s+(\d+) kB$", str(read(path).value or ""))
    if match is None:
        return EnvironmentField(value=None, unavailable=f"{path} tells no SwapTotal")
    if match[1] == "0":
        return EnvironmentField(value=None, not_applicable="there is no swap")
    return EnvironmentField(value=int(match[1]) * BYTES_PER_KB / 1e9)


def _container(root: Path) -> EnvironmentField:
    """Return the kind of container this seems to run in; a hint, not a proof."""
    for path, kind in CONTAINER_MARKS.items():
        if (root / path.lstrip("/")).exists():
            return EnvironmentField(value=kind)
    groups = " ".join(str(folder) for folder in control_groups("memory", root))
    kind_of_group = next((mark for mark in CONTAINER_GROUPS if mark in groups), None)
    return EnvironmentField(value=kind_of_group or "none seen")


def variables(names: Collection[str], values: Mapping[str, str]) -> dict[str, EnvironmentField]:
    """Return the environment variables `names`, and none but those."""
    return {
        name.lower(): EnvironmentField(
            value=values.get(name), not_applicable=None if name in values else "not set"
        )
        for name in names
    }


def allowed_cpus() -> set[int]:
    """Return the logical CPUs that this process may run on."""
    return os.sched_getaffinity(0)
