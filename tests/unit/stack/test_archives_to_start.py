"""Which archives a start serves, and what it leaves of those that the stack had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from marserve.errors import MarserveError
from marserve.stack import archives
from marserve.stack.archives import Archive, archives_to_start, whole_deployments
from marserve.stack.deployments import Deployments, PendingChange, switched
from marserve.stack.model_store import RECORD, DeploymentStore
from marserve.stack.options import Options
from marserve.stack.run_directory import RunDirectory

MODEL = "resnet18"
GIVEN = Options(weights=Path("/w.pth"))

Starts = Callable[..., list[tuple[str, str]]]


@pytest.fixture
def store(tmp_path: Path) -> DeploymentStore:
    return DeploymentStore(RunDirectory(5000, tmp_path / "run"))


@pytest.fixture
def starts(store: DeploymentStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Starts:
    """Starts with options: the models and versions that are served. A build's content follows from its options."""

    def build(options: Options, *, check: bool = False) -> list[Archive]:
        built = tmp_path / "built.mar"
        if not check:
            built.write_text(f"weights {options.weights}")
        return [Archive(MODEL, built, "1.0", str(options.weights), trained=True)]

    def start(options: Options = GIVEN, *, check: bool = False) -> list[tuple[str, str]]:
        served, _ = archives_to_start(options, store, check=check)
        return [(archive.model, archive.version) for archive in served]

    monkeypatch.setattr(archives, "archives_to_serve", build)
    return start


def record_in(store: DeploymentStore) -> Deployments:
    record = store.read()
    assert record is not None
    return record


def deploy(store: DeploymentStore, directory: Path) -> None:
    """Version 2.0, as the command would."""
    source = directory / "second.mar"
    source.write_text("second")
    second = replace(store.add(source, MODEL, "2.0"), by_deploy=True)
    store.update(lambda record: record.with_model(MODEL, switched(second, record.models[MODEL].current, 2)))


def test_a_first_start_serves_its_options_and_puts_them_on_record(store: DeploymentStore, starts: Starts) -> None:
    assert starts() == [(MODEL, "1.0")]
    record = record_in(store)
    assert record.base == {"weights": "/w.pth"}
    assert {file.name for file in store.path.iterdir()} == {RECORD, record.models[MODEL].current.archive}


def test_without_a_deployment_a_new_build_is_served_and_the_one_before_removed(
    store: DeploymentStore, starts: Starts
) -> None:
    starts()
    before = record_in(store).models[MODEL].current
    starts(Options(weights=Path("/other.pth")))
    now = record_in(store).models[MODEL].current
    assert now.sha256 != before.sha256
    assert {file.name for file in store.path.iterdir()} == {RECORD, now.archive}


@pytest.mark.parametrize("options", [GIVEN, Options()])
def test_what_was_deployed_is_served_again(
    store: DeploymentStore, starts: Starts, tmp_path: Path, options: Options
) -> None:
    starts()
    deploy(store, tmp_path)
    record = record_in(store)
    assert starts(options) == [(MODEL, "2.0")]
    assert record_in(store) == record
    assert len(list(store.path.glob("*.mar"))) == 2


def test_other_options_replace_it(store: DeploymentStore, starts: Starts, tmp_path: Path) -> None:
    starts()
    deploy(store, tmp_path)
    assert starts(Options(weights=Path("/other.pth"))) == [(MODEL, "1.0")]
    assert not record_in(store).was_deployed
    assert len(list(store.path.glob("*.mar"))) == 1


def test_where_what_was_asked_for_cannot_be_built_what_was_deployed_still_is(
    store: DeploymentStore, starts: Starts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starts()
    deploy(store, tmp_path)
    record = record_in(store)

    def fail(_options: Options, *, check: bool) -> list[Archive]:
        raise MarserveError(f"no such weights {check}")

    monkeypatch.setattr(archives, "archives_to_serve", fail)
    for options in (Options(weights=Path("/other.pth")), replace(GIVEN, discard_deployed=True)):
        with pytest.raises(MarserveError, match="no such weights"):
            starts(options)
    assert record_in(store) == record
    assert starts() == [(MODEL, "2.0")]


def test_a_damaged_record_stops_the_start_unless_it_is_to_be_forgotten(store: DeploymentStore, starts: Starts) -> None:
    starts()
    store.path.chmod(0o700)
    (store.path / RECORD).write_text("{")
    with pytest.raises(MarserveError, match="is damaged"):
        starts()
    assert starts(replace(GIVEN, discard_deployed=True)) == [(MODEL, "1.0")]


def test_a_check_says_what_would_be_served_and_changes_nothing(
    store: DeploymentStore, starts: Starts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert starts(check=True) == [(MODEL, "1.0")]
    assert store.read() is None
    starts()
    deploy(store, tmp_path)
    store.update(lambda record: replace(record, pending=PendingChange("rollback", MODEL, "1.0", 1)))
    before = {file: file.read_bytes() for file in store.path.iterdir()}
    capsys.readouterr()
    assert starts(check=True) == [(MODEL, "2.0")]
    said = capsys.readouterr().out
    assert "The rollback of resnet18 1.0 was interrupted, and is undone." in said
    assert "Serving what was deployed: resnet18 2.0" in said
    assert starts(Options(weights=Path("/other.pth")), check=True) == [(MODEL, "1.0")]
    assert "Replacing what was deployed" in capsys.readouterr().out
    assert {file: file.read_bytes() for file in store.path.iterdir()} == before


def test_a_model_without_any_whole_archive_is_built_again(
    store: DeploymentStore, starts: Starts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    starts()
    deploy(store, tmp_path)
    store.path.chmod(0o700)
    for file in store.path.glob("*.mar"):
        file.chmod(0o600)
        file.write_text("damaged")
    for source in ("built.mar", "second.mar"):
        (tmp_path / source).unlink()
    record = whole_deployments(store)
    assert [version.version for version in record.models[MODEL].versions] == ["1.0"]
    assert store.damage(record.models[MODEL].current) is None
    assert (tmp_path / "built.mar").read_text() == "weights /w.pth"
    said = capsys.readouterr().err
    assert "No archive of resnet18 is left" in said
    assert "resnet18 1.0 takes its place, as the options of serve say." in said


def test_an_archive_of_another_make_is_served_again_all_the_same(
    store: DeploymentStore, starts: Starts, tmp_path: Path
) -> None:
    starts()
    deploy(store, tmp_path)  # it has no description
    (served, *_), _ = archives_to_start(GIVEN, store)
    assert (served.model, served.version, served.trained, served.weights) == (MODEL, "2.0", True, "unknown")
