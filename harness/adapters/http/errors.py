"""What can go wrong between a request and its reply: one tree, one class for each kind of fault.

    HttpError(AdapterError)
    ├── ConnectError        no connection: refused, unreachable, name not found, timed out
    │   └── ProxyError      the proxy on the way lets nothing through
    ├── CrashError          one of several client processes of ours ended by itself
    ├── TlsError            the connection is there, but not its certificate or its handshake
    ├── TruncatedError      the connection ended, or was reset, before the reply did
    ├── TimeoutError_       the reply was not whole within the deadline
    ├── TooLargeError       the reply is larger than the client keeps
    ├── ProtocolError       the bytes are not HTTP
    ├── StatusError         the server says no
    │   ├── RateLimitError  429: too many requests
    │   ├── BusyError       503: overloaded or not ready
    │   └── ServerError     any other 5xx
    ├── RedirectError       a redirect: never followed, so that no key goes to another host
    ├── StreamError         the reply is whole, but its event stream is not
    │   ├── NoEndMarkError      it ends without [DONE]
    │   ├── TwoEndMarksError    it goes on after [DONE]
    │   └── ErrorEventError     the server reports an error in it
    ├── ContentTypeError    a page or another type where an answer is due
    ├── EncodingError       the reply is compressed, or not UTF-8
    └── AnswerError         the answer does not say what the protocol wants
        └── JsonError           it is not JSON

No message holds a header, a request, or more than a few words of a reply: keys may be in them.
"""

from __future__ import annotations

from harness.errors import AdapterError

__all__ = [
    "AnswerError",
    "BusyError",
    "ConnectError",
    "ContentTypeError",
    "CrashError",
    "EncodingError",
    "ErrorEventError",
    "HttpError",
    "JsonError",
    "NoEndMarkError",
    "ProtocolError",
    "ProxyError",
    "RateLimitError",
    "RedirectError",
    "ServerError",
    "StatusError",
    "StreamError",
    "TimeoutError_",
    "TlsError",
    "TooLargeError",
    "TruncatedError",
    "TwoEndMarksError",
]


class HttpError(AdapterError):
    """A request to a server failed. Each kind of fault has a class of its own."""


class ConnectError(HttpError):
    """There is no connection: refused, unreachable, the name not found, or not in time."""


class ProxyError(ConnectError):
    """The proxy on the way refuses, or is none. Its own words are not shown."""


class CrashError(HttpError):
    """One of several client processes of ours ended by itself; what it had open is lost."""


class TlsError(HttpError):
    """The server's certificate is not trusted, or the TLS handshake failed."""


class TruncatedError(HttpError):
    """The connection ended or was reset before the reply was whole."""


class TimeoutError_(HttpError):
    """The reply was not whole within the request's deadline."""


class TooLargeError(HttpError):
    """The reply is larger than the client keeps in memory."""


class ProtocolError(HttpError):
    """What came back is not HTTP/1.1."""


class StatusError(HttpError):
    """The server answered with a status that is not 2xx."""

    def __init__(self, message: str, *, status: int, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class RateLimitError(StatusError):
    """429: the server takes fewer requests. `retry_after_s` is what it asks for, if it says so."""

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, status=429, hint=hint)
        self.retry_after_s = retry_after_s


class BusyError(StatusError):
    """503: the server is overloaded, or not ready. `retry_after_s` as for RateLimitError."""

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, status=503, hint=hint)
        self.retry_after_s = retry_after_s


class ServerError(StatusError):
    """Any other 5xx: the server failed."""


class RedirectError(HttpError):
    """The server points elsewhere. Redirects are not followed: a key goes to one host only."""


class StreamError(HttpError):
    """The reply is whole as HTTP, but its event stream is not."""


class NoEndMarkError(StreamError):
    """The event stream ends without its end mark: nobody knows whether the answer is whole."""


class TwoEndMarksError(StreamError):
    """The event stream goes on after its end mark."""


class ErrorEventError(StreamError):
    """The server reports an error after it has answered 200: in the stream, or instead of it."""


class ContentTypeError(HttpError):
    """The reply is not of the type that the protocol answers in."""


class EncodingError(HttpError):
    """The reply is compressed although we did not ask for it, or is not UTF-8."""


class AnswerError(HttpError):
    """The reply's JSON or tensors do not say what the protocol wants."""


class JsonError(AnswerError):
    """The reply, or an event of its stream, is not JSON."""
