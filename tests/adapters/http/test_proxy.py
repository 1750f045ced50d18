"""Servers behind a real http proxy: tunnels for https and gRPC, whole URLs for http."""

import base64
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

from harness.adapters.base import Model, RowRequest, TextRequest
from harness.adapters.http.adapter import HttpAdapter
from harness.adapters.http.prerequisites import lacking
from harness.adapters.http.proxy import find_proxy
from harness.errors import PrerequisiteError
from harness.measure.clock import RealClock
from harness.measure.query import TimedQuery
from harness.schema import Target
from harness.schema.server import ServerAddress
from tests.adapters.http.served import make_served
from tests.servers.oip_grpc import served
from tests.servers.process import Reference, certificate, refused_port
from tests.servers.proxy import proxied

PASSWORD = "canary/Zq7vX3+pL9mK2rT8w"
BASIC = f"Basic {base64.b64encode(f'user:{PASSWORD}'.encode()).decode()}"
FORMS = (
    PASSWORD,
    quote(PASSWORD, safe=""),
    BASIC.removeprefix("Basic ").rstrip("="),
    base64.b64encode(PASSWORD.encode()).decode().rstrip("="),
)
TEXT = TextRequest(prompt=np.arange(5), max_new_tokens=4)
ROW = RowRequest(np.array([0.25, 0.75], np.float32))


@pytest.fixture(scope="module")
def server():
    with Reference() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http", "https", "all", "no", "grpc", "no_grpc"):
        monkeypatch.delenv(f"{name}_proxy", raising=False)
        monkeypatch.delenv(f"{name}_proxy".upper(), raising=False)


def url_of(proxy: Any) -> str:
    """Return the proxy's URL with user name and password."""
    return f"http://user:{quote(PASSWORD, safe='')}@127.0.0.1:{proxy.port}"


def tell(target: Target, model: Model, request: Any = TEXT) -> tuple[TimedQuery, str]:
    """Return the read query of `request`, and all that the session says of itself."""
    session = HttpAdapter().open(target, model)
    try:
        query = TimedQuery([request], None, RealClock())
        query.issued_ns = RealClock.now_ns()
        session.submit(query)
        assert query.wait(10.0)
        query.read()
        return query, repr(session.describe())
    finally:
        session.close()


def unshown(text: str) -> bool:
    return not any(form in text for form in FORMS)


def test_an_http_server_is_asked_by_its_whole_url(
    server: Reference, llama_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxied(password=BASIC) as proxy:
        monkeypatch.setenv("A_PROXY", url_of(proxy))
        target = make_served(server.url(), proxy={"env": "A_PROXY"})
        query, described = tell(target, llama_model)
    assert query.token_counts == [4]
    assert proxy.asked == [f"GET {server.url()}/models", f"POST {server.url()}/chat/completions"]
    assert "named by A_PROXY" in described
    assert unshown(described)


def test_an_https_server_is_reached_through_a_tunnel_and_its_certificate_is_checked(
    tmp_path: Path, llama_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = certificate(tmp_path)
    if pair is None:
        pytest.skip("openssl is not installed")
    with Reference("--tls", *pair) as running, proxied(password=BASIC) as proxy:
        monkeypatch.setenv("A_PROXY", url_of(proxy))
        url = f"https://localhost:{running.port}/v1"
        target = make_served(url, proxy={"env": "A_PROXY"}, tls={"ca_file": pair[0]})
        query, described = tell(target, llama_model)
        with pytest.raises(PrerequisiteError, match="not trusted"):
            tell(make_served(url, proxy={"env": "A_PROXY"}), llama_model)
    assert query.token_counts == [4]
    assert set(proxy.asked) == {f"CONNECT localhost:{running.port}"}
    # What is for the server is not told to the proxy, nor the other way round.
    told = " ".join(line for head in proxy.heads for line in head).lower()
    assert "completions" not in told
    assert unshown(described)


def test_grpc_goes_through_a_tunnel_too(
    fraud_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served() as running, proxied(password=BASIC) as proxy:
        monkeypatch.setenv("A_PROXY", url_of(proxy))
        url, options = f"http://localhost:{running.port}", {"protocol": "oip-grpc"}
        target = make_served(url, model="fraud", proxy={"env": "A_PROXY"}, **options)
        query, described = tell(target, fraud_model, ROW)
        assert query.outputs[0] is not None
        assert set(proxy.asked) == {f"CONNECT localhost:{running.port}"}
        assert unshown(described)
        monkeypatch.setenv("no_proxy", "a.example.com,localhost")
        with pytest.raises(PrerequisiteError, match="no_proxy") as raised:
            tell(target, fraud_model, ROW)
        assert "no_grpc_proxy" in (raised.value.hint or "")


@pytest.mark.parametrize("name", ["http_proxy", "https_proxy", "grpc_proxy", "ALL_PROXY"])
def test_no_proxy_of_the_environment_is_used_unasked(
    server: Reference,
    llama_model: Model,
    fraud_model: Model,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{refused_port()}")
    query, described = tell(make_served(server.url()), llama_model)
    assert query.token_counts == [4]
    assert "'proxy': None" in described
    with served() as running:
        url = f"http://127.0.0.1:{running.port}"
        query, _ = tell(make_served(url, protocol="oip-grpc", model="m"), fraud_model, ROW)
    assert query.outputs[0] is not None


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("407 Authentication Required", "407"),
        ("502 Bad Gateway", "502"),
        ("close", "closed the connection"),
        ("garbage", "no http proxy"),
    ],
)
@pytest.mark.parametrize("protocol", ["openai-chat", "oip-grpc"])
def test_a_proxy_that_lets_nothing_through_is_named_without_its_password(
    llama_model: Model,
    fraud_model: Model,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    fault: str,
    words: str,
    protocol: str,
) -> None:
    grpc = protocol == "oip-grpc"
    with proxied(fault=fault) as proxy:
        monkeypatch.setenv("A_PROXY", url_of(proxy))
        url = "https://server.invalid:8443"
        target = make_served(url, protocol=protocol, proxy={"env": "A_PROXY"})
        with pytest.raises(PrerequisiteError) as raised:
            tell(target, fraud_model if grpc else llama_model)
    text = str(raised.value)
    assert re.search(words, text) or grpc
    assert f"127.0.0.1:{proxy.port}" in text
    assert unshown(text + "".join(capfd.readouterr()) + repr(raised.value.__cause__))


def test_a_proxy_that_is_not_there_is_told_from_a_server_that_is_not(llama_model: Model) -> None:
    port = refused_port()
    target = make_served("https://server.invalid/v1", proxy=f"http://127.0.0.1:{port}")
    with pytest.raises(PrerequisiteError, match=f"127.0.0.1:{port} refuses"):
        tell(target, llama_model)


def address(url: str = "https://api.example.com/v1", **changes: Any) -> ServerAddress:
    found = make_served(url, **changes).server
    assert found is not None
    return found


def test_the_environment_is_read_as_other_programs_read_it_but_only_if_asked() -> None:
    environ = {
        "HTTPS_PROXY": "http://one:3128",
        "https_proxy": "two:3129",
        "HTTP_PROXY": "http://three",
        "NO_PROXY": "example.org,10.0.0.1",
    }
    assert find_proxy(address(), environ) is None
    found = find_proxy(address(proxy="environment"), environ)
    assert str(found) == "two:3129"
    assert found is not None
    assert found.describe() == "named by HTTPS_PROXY"
    assert str(find_proxy(address("http://a", proxy="environment"), environ)) == "three:80"
    for excepted in ("https://www.example.org", "http://10.0.0.1:8000"):
        assert find_proxy(address(excepted, proxy="environment"), environ) is None
    assert find_proxy(address(proxy="environment"), {}) is None
    literal = find_proxy(address(proxy="http://proxy:3128"), environ)
    assert literal is not None
    assert literal.describe() == "proxy:3128"


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"https://user:{PASSWORD}@proxy:3128",
        f"socks5://user:{quote(PASSWORD, safe='')}@proxy:3128",
        "http://user:12345/6789@proxy:3128",
        "http://user:ab#cd@proxy:3128",
        "http://user:ab?cd@proxy:3128",
        "http://user:a@b@proxy:3128",
        "http://proxy:notaport",
        "http://",
    ],
)
def test_a_variable_that_cannot_be_used_is_named_and_not_shown(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PrerequisiteError, match="A_PROXY") as raised:
        find_proxy(address(proxy={"env": "A_PROXY"}), {"A_PROXY": text})
    shown = str(raised.value).replace("http", "")
    assert not text or text.replace("http", "") not in shown
    assert "12345" not in shown
    monkeypatch.setenv("A_PROXY", text)
    assert "A_PROXY" in (lacking(address(proxy={"env": "A_PROXY"})) or "")
