"""The versions of a model as TorchServe lists them now, with errors that say which ones there are."""

from __future__ import annotations

from collections.abc import Sequence

from marserve.client.errors import Refused
from marserve.client.management import ManagementClient
from marserve.errors import MarserveError
from marserve.torchserve.models import ModelVersion


def list_versions(management: ManagementClient, model: str) -> list[ModelVersion]:
    """All versions of ``model``, in the order of their numbers. Raises MarserveError where there is no such model."""
    try:
        return management.describe_all(model)
    except Refused as exc:
        if exc.status != 404:
            raise
        names = ", ".join(management.list_models())
        raise MarserveError(f"There is no model {model}; there are: {names}.") from exc


def find_version(management: ManagementClient, model: str, version: str | None = None) -> ModelVersion:
    """``version`` of ``model``, the default one for None. Raises MarserveError where there is none."""
    return one_of(list_versions(management, model), version)


def one_of(versions: Sequence[ModelVersion], version: str | None) -> ModelVersion:
    """``version`` among those of a model, the default one for None. Raises MarserveError where there is none."""
    for listed in versions:
        if listed.is_default if version is None else listed.version == version:
            return listed
    names = ", ".join(listed.version for listed in versions)
    raise MarserveError(f"{versions[0].model} has no version {version}; there are: {names}.")
