"""What is registered: versions by name, number and alias, and what each was made from. Nothing is changed here."""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from infra.registry import copies, files, records
from infra.registry.records import CHAMPION, ModelVersion
from infra.registry.service import connect, failing_clearly, local_path, pages
from revs.errors import BadInput, OperationFailed

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion as MlflowVersion

_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d{1,9}))?")
NOTHING_READ = "nothing was changed: check the tracking URI and the artifact store, then run again"


class Catalogue:
    """The registered models at one tracking URI. Making one costs nothing; the first call connects."""

    def __init__(self, tracking_uri: str) -> None:
        self.tracking_uri = tracking_uri

    def champion(self, name: str) -> ModelVersion:
        """The version that the serving alias points to. BadInput if there is none, naming what exists."""
        return self._existing(records.checked_name(name), CHAMPION, None)

    def previous(self, name: str) -> ModelVersion | None:
        """The version that was champion before the present one; None where none was, or its entry was deleted."""
        with failing_clearly("asking the registry", safe=NOTHING_READ):
            return self._find(records.checked_name(name), records.PREVIOUS, None)

    def names(self) -> list[str]:
        """Names of the registered models, sorted; not those that this program cannot address."""
        with failing_clearly("asking the registry", safe=NOTHING_READ):
            names = [str(model.name) for model in pages(self._client.search_registered_models)]
            return sorted(filter(records.usable_name, names))

    def versions(self, name: str) -> list[ModelVersion]:
        """The versions of a registered model, oldest first."""
        with failing_clearly("asking the registry", safe=NOTHING_READ):
            found = pages(self._client.search_model_versions, filter_string=f"name = '{records.checked_name(name)}'")
            return [self._version(name, str(number)) for number in sorted(int(each.version) for each in found)]

    def alias(self, name: str) -> str | None:
        """The number that the serving alias of a model names, whether or not there is such a version."""
        with failing_clearly("asking the registry", safe=NOTHING_READ):
            number = self._client.get_registered_model(records.checked_name(name)).aliases.get(CHAMPION)
            return None if number is None else str(number)

    def resolve(self, uri_or_name: str) -> ModelVersion:
        """Find `models:/name@alias`, `models:/name/3`, or a plain name's champion. BadInput names what exists."""
        text = uri_or_name if uri_or_name.startswith("models:") else f"models:/{uri_or_name}"
        match = _URI.fullmatch(text)
        if match is None or (match["version"] and text != uri_or_name):
            raise BadInput(f"{uri_or_name!r} names no model: write models:/NAME@champion, models:/NAME/3 or NAME")
        number = None if match["version"] is None else str(int(match["version"]))
        return self._existing(records.checked_name(match["name"]), match["alias"] or CHAMPION, number)

    def run_page(self, version: ModelVersion) -> str:
        """Where MLflow's web pages show the run of a version; the path below the server's address."""
        with failing_clearly("asking the registry", safe=NOTHING_READ):
            experiment = self._client.get_run(version.run_id).info.experiment_id
            return f"#/experiments/{experiment}/runs/{version.run_id}"

    def ancestry(self, version: ModelVersion) -> tuple[ModelVersion, ...]:
        """The version, the one it was made from, and so on to the root.

        A parent whose entry was deleted ends it: then the last one still has a parent's number among its tags.

        Raises:
            OperationFailed: the parents go round in a circle, or the store failed.
        """
        line = [version]
        with failing_clearly(f"reading the lineage of {version.uri}", safe=NOTHING_READ):
            while (parent := line[-1].tags.get(records.PARENT)) is not None:
                if parent in {found.version for found in line}:
                    raise OperationFailed(
                        f"the parents of {version.uri} go round in a circle at version {parent}: their tags "
                        f"{records.PARENT!r} were changed; set them right before anything is derived from it"
                    )
                found = self._find(version.name, CHAMPION, parent)
                if found is None:
                    break
                line.append(found)
        return tuple(line)

    @cached_property
    def _client(self) -> MlflowClient:
        return connect(self.tracking_uri)

    def stored_at(self, version: ModelVersion) -> Path | None:
        """Where the files of a version lie on this machine, by the address that MLflow keeps; None for other stores."""
        with failing_clearly("asking the registry", safe=NOTHING_READ):
            return local_path(self._location(version))

    def stored_files(self, version: ModelVersion) -> frozenset[str]:
        """Names of the files that the store holds of a version's checkpoint, unread; empty where it holds none.

        Raises:
            OperationFailed: the store cannot be asked.
        """
        with failing_clearly(f"looking for the files of {version.uri}", safe=NOTHING_READ):
            _, names = copies.checkpoint_names(self._location(version), self.tracking_uri)
            return names

    def require_bytes(self, version: ModelVersion) -> None:
        """Refuse a version that was retired.

        The tag alone, which anybody may set, retires nothing: a version whose files are there is judged by them.

        Raises:
            BadInput: it was.
            OperationFailed: the store cannot be asked.
        """
        if version.tags.get(records.STATUS) == records.RETIRED and not self.stored_files(version):
            on = version.tags.get(records.RETIRED_ON, "a day that is not on record")
            raise BadInput(
                f"version {version.version} of {version.name!r} was retired on {on}: its bytes are gone; use another "
                "version, such as the champion"
            )

    def missing_files(self, version: ModelVersion) -> list[str]:
        """Names of the files that belong to a version's checkpoint and are not in the store; sorted, and unread.

        Raises:
            OperationFailed: the store cannot be asked.
        """
        beside = files.from_tag(version.tags.get(records.FILES)) or ()
        with failing_clearly(f"looking for the files of {version.uri}", safe=NOTHING_READ):
            uri, stored = copies.checkpoint_names(self._location(version), self.tracking_uri)
            weights = copies.weight_files(uri, self.tracking_uri, stored)
        return sorted({"config.json", *beside, *weights} - stored)

    def _location(self, version: ModelVersion) -> str:
        return str(self._client.get_model_version_download_uri(version.name, version.version))

    def _champion(self, name: str) -> ModelVersion | None:
        return self._find(records.checked_name(name), CHAMPION, None)

    def _existing(self, name: str, alias: str, number: str | None) -> ModelVersion:
        """One version by number or by alias. BadInput if it does not exist, naming what does."""
        with failing_clearly("asking the registry", safe=NOTHING_READ):
            found = self._find(name, alias, number)
            if found is None:
                raise self._unknown(name, f"version {number}" if number else f"alias {alias!r}")
            return found

    def _find(self, name: str, alias: str, number: str | None) -> ModelVersion | None:
        """One version by number or by alias; None if it does not exist."""
        from mlflow.exceptions import MlflowException

        try:
            if number is None:
                named = self._client.get_model_version_by_alias(name, alias)
                number = _require_answer(named, name, f"alias {alias!r}", number=None)
            return self._version(name, number)
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def _version(self, name: str, number: str) -> ModelVersion:
        found = self._client.get_model_version(name, number)
        _require_answer(found, name, f"version {number}", number=number)
        return ModelVersion(
            name=found.name,
            version=str(found.version),
            uri=f"models:/{found.name}/{found.version}",
            run_id=found.run_id or "",
            source=found.source or "",
            tags=dict(found.tags),
            aliases=tuple(found.aliases),
        )

    def _unknown(self, name: str, wanted: str) -> BadInput:
        known = self.names()
        if name not in known:
            return BadInput(f"no model {name!r} is registered; registered are: {', '.join(known) or 'none'}")
        versions = sorted(int(v.version) for v in self._client.search_model_versions(f"name = '{name}'"))
        aliases = self._client.get_registered_model(name).aliases
        shown = ", ".join(f"{alias} (version {number})" for alias, number in sorted(aliases.items())) or "none"
        return BadInput(
            f"model {name!r} has no {wanted}; versions: {', '.join(map(str, versions)) or 'none'}; aliases: {shown}"
        )


def _require_answer(found: MlflowVersion, name: str, wanted: str, *, number: str | None) -> str:
    """The number of the version that the registry answered with; it is of the model, and the one that was asked for.

    Raises:
        OperationFailed: it is not, as with a proxy that answers from an old copy, or something that is no registry.
    """
    answered = str(found.version)
    if found.name == name and answered.isdecimal() and number in (None, answered):
        return answered
    raise OperationFailed(
        f"the registry was asked for {wanted} of {name!r} and answered with another one or with none: nothing was "
        "changed; check what answers at the tracking URI, then run again"
    )
