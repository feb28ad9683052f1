"""Helm in a process of its own: its library is a Go program, with its own threads and handlers of signals, which ended
the process of all tests by a segmentation fault where others had loaded PyTorch, OpenVINO and more.

So nothing that tests import may import ``helm_python`` itself.
"""

from __future__ import annotations

import functools
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from tests.support import REPOSITORY

CHART = REPOSITORY / "deploy" / "helm" / "marserve"

Result = TypeVar("Result")


class HelmError(Exception):
    """What Helm says against a chart and its values."""


class HelmValuesError(HelmError):
    """The chart's schema refuses the values."""


def render(values: dict[str, Any], *, name: str, namespace: str) -> dict[str, str]:
    """What each template gives, by its path. Raises HelmError."""
    return _run(_render, values, name, namespace)


def lint(values: dict[str, Any], *, namespace: str, kube_version: str | None) -> dict[str, Any]:
    """Helm's report, warnings being errors."""
    return _run(_lint, values, namespace, kube_version)


def check_values(values: dict[str, Any]) -> None:
    """Raises HelmValuesError where the schema refuses them."""
    _run(_check_values, values)


def package_and_expand(directory: Path) -> None:
    """Package the chart, and unpack that into ``directory``."""
    _run(_package_and_expand, directory)


@functools.cache
def _process() -> ProcessPoolExecutor:
    # Not a copy of this process, whose threads it would lack.
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))


def _run(call: Callable[..., Result], *arguments: object) -> Result:
    return _process().submit(_translated, call, *arguments).result()


def _translated(call: Callable[..., Result], *arguments: object) -> Result:
    import helm_python

    try:
        return call(*arguments)
    except helm_python.HelmValuesError as exc:
        raise HelmValuesError(str(exc)) from exc
    except helm_python.HelmError as exc:
        raise HelmError(str(exc)) from exc


@functools.cache
def _chart() -> Any:
    import helm_python

    return helm_python.Chart.load(CHART)


def _render(values: dict[str, Any], name: str, namespace: str) -> dict[str, str]:
    return dict(_chart().render(values, name=name, namespace=namespace))


def _lint(values: dict[str, Any], namespace: str, kube_version: str | None) -> dict[str, Any]:
    import helm_python

    return helm_python.lint(CHART, values, strict=True, namespace=namespace, kube_version=kube_version)


def _check_values(values: dict[str, Any]) -> None:
    _chart().validate_schema(values)


def _package_and_expand(directory: Path) -> None:
    import helm_python

    helm_python.expand(directory, helm_python.package(CHART, destination=directory))
