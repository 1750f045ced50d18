"""Finds adapters and meters through entry points; a plugin is imported only when it is used.

A plugin that cannot be imported stays in the list with its `load_error`: it is never dropped.
"""

from __future__ import annotations

import traceback
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, cast

from harness.documents import did_you_mean
from harness.errors import AdapterError, HarnessError, OptionError, SpecError
from harness.yaml_reader import shown

if TYPE_CHECKING:
    from harness.adapters.base import Adapter
    from harness.meters.base import Meter
    from harness.schema import Target

ADAPTERS = "harness.adapters"
METERS = "harness.meters"
API_VERSION = 1


@dataclass(frozen=True, slots=True)
class Plugin:
    """A registered plugin: its name, who registers it, and the `module:attribute` it stands for."""

    name: str
    distribution: str
    value: str
    group: str

    def load(self) -> object:
        """Import the plugin and return what it registers. AdapterError if the import fails."""
        try:
            loaded: object = metadata.EntryPoint(self.name, self.value, self.group).load()
        except (Exception, SystemExit) as error:  # a plugin may do anything when imported
            message = f"{self.title} cannot be imported: {last_line(error)}"
            hint = f"repair or reinstall {self.distribution}; 'harness doctor' checks all plugins"
            raise AdapterError(message, hint=hint) from error
        return loaded

    @property
    def load_error(self) -> str | None:
        """The last traceback line of what goes wrong when the plugin is imported, or None."""
        try:
            self.load()
        except AdapterError as error:
            return last_line(error.__cause__ or error)
        return None

    @property
    def title(self) -> str:
        """The plugin as messages call it."""
        return f"the {self.group.rpartition('.')[2][:-1]} {shown(self.name)} of {self.distribution}"


def adapters() -> list[Plugin]:
    """Return the registered adapters, by name; none of them is imported."""
    return _plugins(ADAPTERS)


def meters() -> list[Plugin]:
    """Return the registered meters, by name; none of them is imported."""
    return _plugins(METERS)


def adapter(name: str) -> Adapter:
    """Return the adapter registered as `name`.

    SpecError if there is none, or if two distributions register it; AdapterError if it cannot be
    imported or made, or speaks another version of the contract.
    """
    plugin = _only(name, adapters(), "adapter")
    made = make(plugin)
    version = getattr(made, "api_version", None)
    if version != API_VERSION or isinstance(version, bool):
        message = f"{plugin.title} has api_version {shown(version)}; this harness has {API_VERSION}"
        raise AdapterError(message, hint=f"install a {plugin.distribution} made for it")
    if not callable(getattr(made, "open", None)):
        raise AdapterError(f"{plugin.title} ({plugin.value}) is no adapter: it has no open()")
    return cast("Adapter", made)


def check_options(target: Target) -> None:
    """Raise OptionError if the adapter of `target` can say that one of its options is wrong.

    AdapterError if the check itself fails, or refuses in another way. Says nothing where the
    adapter cannot be loaded, or has no such check.
    """
    name = target.runtime.adapter
    try:
        check = getattr(adapter(name), "check_options", None)
    except HarnessError:
        return
    if not callable(check):
        return
    try:
        check(target)
    except OptionError:
        raise
    except HarnessError as error:
        raise AdapterError(error.message, hint=error.hint) from error
    except (Exception, SystemExit) as error:  # a plugin's code may do anything
        plugin = _only(name, adapters(), "adapter")
        raise AdapterError(
            f"{plugin.title} could not check the options: {last_line(error)}",
            hint=f"repair the options, or check_options() of {plugin.distribution}: "
            "for a wrong option it raises OptionError",
        ) from error


def meter(name: str) -> Meter:
    """Return the meter registered as `name`; raises as `adapter` does."""
    plugin = _only(name, meters(), "meter")
    made = make(plugin)
    for method in ("probe", "begin", "end", "close"):
        if not callable(getattr(made, method, None)):
            raise AdapterError(f"{plugin.title} ({plugin.value}) is no meter: no {method}()")
    return cast("Meter", made)


def make(plugin: Plugin) -> object:
    """Return what `plugin` registers, called without arguments. AdapterError if that fails."""
    factory = plugin.load()
    if not callable(factory):
        raise AdapterError(f"{plugin.title}: {plugin.value} cannot be called")
    try:
        made: object = factory()
    except HarnessError:
        raise
    except (Exception, SystemExit) as error:  # so may its constructor
        raise AdapterError(f"{plugin.title} cannot be made: {last_line(error)}") from error
    return made


def clashes(plugins: Sequence[Plugin]) -> dict[str, list[Plugin]]:
    """Return those of `plugins` that share a name, by that name."""
    groups = defaultdict(list)
    for plugin in plugins:
        groups[plugin.name].append(plugin)
    return {name: group for name, group in groups.items() if len(group) > 1}


def last_line(error: BaseException) -> str:
    """Return the last line of `error`'s traceback, as in "ModuleNotFoundError: No module ..."."""
    return "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]


def _plugins(group: str) -> list[Plugin]:
    found = {
        Plugin(point.name, point.dist.name if point.dist else "unknown", point.value, group)
        for point in metadata.entry_points(group=group)
    }
    return sorted(found, key=lambda plugin: (plugin.name, plugin.distribution, plugin.value))


def _only(name: str, plugins: Sequence[Plugin], kind: str) -> Plugin:
    """Return the one plugin called `name`."""
    found = [plugin for plugin in plugins if plugin.name == name]
    if not found:
        known = sorted({plugin.name for plugin in plugins})
        there = f"there are: {', '.join(known)}" if known else "none is installed"
        close = did_you_mean(name, known)
        hint = f"{close} {there}" if close else there
        raise SpecError(f"unknown {kind} {shown(name)}", hint=hint)
    if len(found) > 1:
        owners = " and ".join(f"{plugin.distribution} ({plugin.value})" for plugin in found)
        message = f"the {kind} {shown(name)} is registered twice: by {owners}"
        raise SpecError(message, hint="uninstall one of them")
    return found[0]
