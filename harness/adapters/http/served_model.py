"""Which of a server's models is asked: the one that the target names, or the only one listed."""

from __future__ import annotations

from collections.abc import Mapping

from harness.adapters.http.codec import Tally
from harness.adapters.http.secrets import Secret
from harness.errors import PrerequisiteError
from harness.schema.server import ServerAddress

__all__ = ["ListedModel", "ServedModel"]

SHOWN = 5


class ServedModel:
    """The model's name, and whether the server lists it.

    Lists are not to be relied on: some name only what was loaded before, or other names of the same
    model. So a name that was given is used, and what the list lacks is a note of the record.
    """

    def __init__(self, name: str | None, secret: Secret) -> None:
        self._given = name
        self._secret = secret
        self._name = name
        self._listed: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name to ask for; PrerequisiteError if the target gives none and none was listed."""
        if self._name is None:
            raise PrerequisiteError(
                "the server does not say which models it has",
                hint="put the name that the server knows into 'server.model'",
            )
        return self._name

    @property
    def unlisted(self) -> bool:
        """Whether the server lists models, and not the one that is asked for."""
        return bool(self._listed) and self._name not in self._listed

    def learn(self, document: object) -> None:
        """Take the server's list of models.

        Raises PrerequisiteError if the target names none and the list does not hold exactly one.
        """
        data = document.get("data") if isinstance(document, dict) else None
        rows = data if isinstance(data, list) else []
        found = {row["id"] for row in rows if isinstance(row, dict) and _is_name(row.get("id"))}
        self._listed = tuple(sorted(found))
        if self._given is None and self._listed:
            if len(self._listed) > 1:
                raise PrerequisiteError(
                    f"the server has {len(self._listed)} models: {self._some()}",
                    hint="put one of them into 'server.model'",
                )
            (self._name,) = self._listed
        _ = self.name

    def missing(self, said: str) -> PrerequisiteError:
        """Return the error that the server, asked for the model, does not know it."""
        return PrerequisiteError(
            f"the server has no model '{self.name}'" + (f": {said}" if said else ""),
            hint=f"put one of its own into 'server.model': {self._some()}",
        )

    def describe(self) -> Mapping[str, object]:
        """Return what the target does not say: the model's name, or that no list has it."""
        if self._given is None and self._name is not None:
            note = "not named by the target: the only one that the server lists"
            return {"model": self._secret.clean(self._name), "model_note": note}
        if self.unlisted:
            return {"model_note": f"not in the server's list: {self._some()}"}
        return {}

    def _some(self) -> str:
        names = [self._secret.clean(name)[:80] for name in self._listed[:SHOWN]]
        more = len(self._listed) - len(names)
        return ", ".join(names) + (f" and {more} more" if more > 0 else "")


class ListedModel:
    """What the codecs of a server that lists its models share; `served` is the one asked."""

    def __init__(self, server: ServerAddress, secret: Secret) -> None:
        self._server = server
        self._secret = secret
        self._tally = Tally()
        self.served = ServedModel(server.model, secret)

    def probes(self) -> tuple[str, ...]:
        """Return the list of models."""
        return ("/models",)

    def learn(self, path: str, document: object) -> None:
        """Take the server's list of models; PrerequisiteError if it leaves open which to ask."""
        self.served.learn(document)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 1024
