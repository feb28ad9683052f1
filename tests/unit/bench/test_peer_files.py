"""Each peer.toml of the project is understood, and one that is not says what is wrong."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.peer_files import PEERS, Peer, Variant, read_peer, read_peers, substitute
from marserve.paths import HANDLER

NAMES = sorted(file.parent.name for file in PEERS.glob("*/peer.toml"))
SEVERAL = re.compile(r"\b([2-9]|\d\d) (workers|replicas|instances|processes)\b|\bper core\b")
COMPLETE = """
title = "Flask"
documentation = "Flask's quickstart"
path = "/predict"
body = "multipart"
[[variants]]
name = "recipe"
command = ["{python}", "server.py", "--port", "{port}"]
"""


@pytest.mark.parametrize("name", NAMES)
def test_peer_of_the_project_is_understood(name: str) -> None:
    peer = read_peer(PEERS / name)
    assert peer.variants
    assert len({variant.name for variant in peer.variants}) == len(peer.variants)
    assert not any(peer.form.encode(b"\xff\xd8")[0] == b"" for _ in peer.variants)


@pytest.mark.parametrize("name", NAMES)
def test_several_workers_are_also_measured_with_one_thread(name: str) -> None:
    recipes = [variant for variant in read_peer(PEERS / name).variants if not variant.is_ours]
    if any(SEVERAL.search(variant.name) for variant in recipes):
        assert any(_is_one_thread(variant, read_peer(PEERS / name)) for variant in recipes)


@pytest.mark.parametrize("name", NAMES)
def test_requirements_of_a_peer_are_pinned(name: str) -> None:
    lines = (PEERS / name / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [line.partition("#")[0].strip() for line in lines]
    assert all("==" in line for line in wanted if line)


def test_peers_with_our_engine_get_whatever_it_imports() -> None:
    """At the top of its modules: what is imported where it is used is for devices that peers do not have."""
    found: set[str] = set()
    todo, seen = ["answers", "description", "images", "labels", "settings", "engines.openvino_engine"], set[str]()
    while todo:
        module = todo.pop()
        if module in seen:
            continue
        seen.add(module)
        file = HANDLER / "resnet18" / f"{module.replace('.', '/')}.py"
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level:
                package = module.split(".")[: -node.level]
                todo.append(".".join([*package, node.module]))
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    lines = [
        line.partition("==")[0].strip()
        for name in ("requirements.txt", "engine-requirements.txt")
        for line in (PEERS / "common" / name).read_text(encoding="utf-8").splitlines()
        if "==" in line
    ]
    assert found - sys.stdlib_module_names - {"PIL" if name == "pillow" else name for name in lines} == set()


def test_values_of_a_peer_are_read(tmp_path: Path) -> None:
    peer = _write(tmp_path / "flask", COMPLETE)
    assert (peer.name, peer.title, peer.path, peer.form.kind) == ("flask", "Flask", "/predict", "multipart")
    assert peer.variants[0].command[0] == "{python}"
    assert read_peers(tmp_path) == [peer]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("{port}", "{prot}"), "{prot}"),
        (('body = "multipart"', 'body = "parcel"'), "parcel"),
        (('name = "recipe"', 'nmae = "recipe"'), "nmae"),
        (('title = "Flask"', ""), "title"),
        (('title = "Flask"', 'title = "Fla'), "TOML"),
        (('name = "recipe"', 'name = "recipe"\nengine = "theirs"'), "theirs"),
        (('name = "recipe"', 'name = "GPU, recipe"'), "'gpu', and only there"),
        (('name = "recipe"', 'name = "recipe"\ndevice = "gpu"'), "must begin with 'GPU, '"),
    ],
)
def test_mistake_is_named_with_its_file(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(BenchError, match=re.escape(message)) as refusal:
        _write(tmp_path, COMPLETE.replace(*change))
    assert "peer.toml" in str(refusal.value)


def test_placeholders_are_replaced_and_other_braces_stay() -> None:
    assert substitute('{port} {"a": 1} {unknown}', {"port": 81}) == '81 {"a": 1} {unknown}'


def _write(directory: Path, text: str) -> Peer:
    directory.mkdir(exist_ok=True)
    (directory / "peer.toml").write_text(text, encoding="utf-8")
    return read_peer(directory)


def _is_one_thread(variant: Variant, peer: Peer) -> bool:
    """Some servers set the variable by themselves; their variant's name says so."""
    return {**peer.environment, **variant.environment}.get("OMP_NUM_THREADS") == "1" or "1 thread" in variant.name
