import contextlib
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

from harness import plugins
from harness.adapters.base import API_VERSION
from harness.errors import AdapterError, OptionError, SpecError
from tests.factories import make_target


def point(name, value, distribution, group="harness.adapters"):
    made = metadata.EntryPoint(name, value, group)
    return made._for(SimpleNamespace(name=distribution))


@pytest.fixture
def register(monkeypatch, tmp_path):
    """Return a function that registers plugins: (name, code of a module, distribution)."""
    points = []
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(
        metadata, "entry_points", lambda group: [p for p in points if p.group == group]
    )

    def add(name, code, distribution="acme", group="harness.adapters"):
        module = f"plugin_{len(points)}_{tmp_path.name.replace('-', '_')}"
        (tmp_path / f"{module}.py").write_text(code)
        points.append(point(name, f"{module}:Thing", distribution, group))
        return module

    return add


GOOD = "class Thing:\n    api_version = 1\n    def open(self, target, model): return None\n"
METER = "class Thing:\n    def probe(self): ...\n    begin = end = close = probe\n"


def test_versions_agree():
    assert plugins.API_VERSION == API_VERSION


def test_the_built_in_ones_are_registered():
    assert {"fake", "onnxruntime", "openvino", "torch"} <= {p.name for p in plugins.adapters()}
    assert {"nvml", "rapl"} <= {p.name for p in plugins.meters()}
    fake = plugins.adapter("fake")
    assert fake.api_version == 1


def test_listing_imports_nothing(register):
    module = register("good", GOOD)
    [plugin] = plugins.adapters()
    assert (plugin.name, plugin.distribution) == ("good", "acme")
    assert module not in sys.modules
    assert plugin.load_error is None
    assert module in sys.modules


def test_an_unknown_name_says_what_there_is(register):
    register("good", GOOD)
    with pytest.raises(SpecError, match="unknown adapter 'god'") as caught:
        plugins.adapter("god")
    assert caught.value.hint == "did you mean 'good'? there are: good"
    with pytest.raises(SpecError) as caught:
        plugins.meter("rapl")
    assert caught.value.hint == "none is installed"


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("import no_such_runtime", "ModuleNotFoundError: No module named 'no_such_runtime'"),
        ("def f(:", "SyntaxError: invalid syntax"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("x = 1", "has no attribute 'Thing'"),
    ],
)
def test_a_broken_plugin_stays_listed_with_its_last_traceback_line(register, code, line):
    register("bad", code)
    register("good", GOOD)
    bad, good = plugins.adapters()
    assert line in bad.load_error
    assert good.load_error is None
    with pytest.raises(
        AdapterError, match="the adapter 'bad' of acme cannot be imported"
    ) as caught:
        plugins.adapter("bad")
    assert line in str(caught.value)
    assert "harness doctor" in caught.value.hint
    assert plugins.adapter("good")


@pytest.mark.parametrize("version", ["2", "None", "True", "'1'"])
def test_another_version_of_the_contract_is_refused(register, version):
    register("odd", GOOD.replace("api_version = 1", f"api_version = {version}"))
    with pytest.raises(AdapterError, match="the adapter 'odd' of acme has api_version"):
        plugins.adapter("odd")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("Thing = 5", "cannot be called"),
        ("class Thing:\n    def __init__(self): raise OSError('no device')", "OSError: no device"),
        ("class Thing:\n    api_version = 1", "is no adapter: it has no open()"),
    ],
)
def test_what_is_no_adapter_is_refused(register, code, message):
    register("odd", code)
    with pytest.raises(AdapterError) as caught:
        plugins.adapter("odd")
    assert message in str(caught.value)


def test_a_name_registered_twice_names_both(register):
    register("fast", GOOD, "acme")
    register("fast", GOOD, "zenith")
    with pytest.raises(SpecError, match=r"'fast' is registered twice: by acme .* and zenith"):
        plugins.adapter("fast")
    assert set(plugins.clashes(plugins.adapters())) == {"fast"}


def test_meters(register):
    register("good", METER, group="harness.meters")
    register("bad", "class Thing:\n    def probe(self): ...\n", group="harness.meters")
    assert plugins.meter("good")
    with pytest.raises(AdapterError, match=r"the meter 'bad' of acme .* is no meter: no begin\(\)"):
        plugins.meter("bad")
    assert plugins.adapters() == []


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ("raise OptionError('no such option', 'x')", OptionError, "no such option"),
        ("raise UnsupportedError('takes none')", AdapterError, "takes none"),
        ("return target.runtime.options['x']", AdapterError, "acme could not check the options"),
        ("raise SystemExit(3)", AdapterError, "acme could not check the options: SystemExit: 3"),
        ("return None", None, ""),
    ],
)
def test_a_check_of_options_that_fails_is_told_as_the_adapters(register, body, kind, said):
    register(
        "checks",
        "from harness.errors import OptionError, UnsupportedError\n"
        f"{GOOD}    def check_options(self, target):\n        {body}\n",
    )
    target = make_target("box", runtime={"adapter": "checks"})
    with contextlib.nullcontext() if kind is None else pytest.raises(kind, match=said):
        plugins.check_options(target)
