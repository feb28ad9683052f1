"""A peer is started as its peer.toml says, in its own network where it says so."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench import peer_server, server_process
from bench.candidate import Workspace
from bench.errors import CandidateError, NoGpuError
from bench.peer_files import read_peer
from bench.peer_server import PeerServer
from bench.server_process import network_namespace
from bench.target import send_picture

#: Answers what it was started with.
SERVER = """
import http.server, json, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        names = ("PYTHONPATH", "TMPDIR", "OMP_NUM_THREADS", "PLACE", "DEVICE", "CUDA_VISIBLE_DEVICES")
        values = {name: os.environ.get(name) for name in names}
        body = json.dumps(values | {"arguments": sys.argv[2:], "prepared": os.listdir(os.environ["TMPDIR"])}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
TOML = """
title = "Small"
documentation = "this test"
path = "/predict"
extra_ports = 1
[environment]
PLACE = "{peer}"
[[variants]]
name = "1 thread"
environment = { OMP_NUM_THREADS = "1" }
prepare = ["{python}", "-c", "open('{temp}/model', 'w').close()"]
command = ["{python}", "server.py", "{port}", "{weights}", "{port1}"]
[[variants]]
name = "our engine"
engine = "ours"
command = ["{python}", "server.py", "{port}", "{archive}", "{precision}"]
[[variants]]
name = "GPU, recipe"
device = "gpu"
command = ["{python}", "server.py", "{port}"]
"""


def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: int, toml: str = TOML) -> PeerServer:
    directory = tmp_path / "small"
    directory.mkdir()
    (directory / "peer.toml").write_text(toml, encoding="utf-8")
    (directory / "server.py").write_text(SERVER, encoding="utf-8")
    monkeypatch.setattr(peer_server, "ensure_peer", lambda _: Path(sys.executable))
    peer = read_peer(directory)
    workspace = Workspace(tmp_path, tmp_path / "results", tmp_path, tmp_path / "weights.pth")
    return PeerServer(peer, peer.variants[variant], workspace, {"int8": tmp_path / "archive"}, "int8")


def answer_of(server: PeerServer) -> dict[str, object]:
    with server.run() as running:
        answer = None
        while answer is None:
            assert server_process.members(running.mark), running.log.read_text()
            answer = send_picture(running.targets["server"], b"\xff\xd8")
    assert server_process.members(running.mark) == []
    content: dict[str, object] = json.loads(answer.body)
    return content | {"ports": running.ports}


def test_recipe_gets_weights_ports_and_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = started(tmp_path, monkeypatch, 0)
    content = answer_of(server)
    ports = content["ports"]
    assert isinstance(ports, tuple)
    assert content["arguments"] == [str(tmp_path / "weights.pth"), str(ports[1])]
    assert content["OMP_NUM_THREADS"] == "1"
    assert content["PLACE"] == str(server.peer.directory)
    assert content["prepared"] == ["model"]
    assert (content["DEVICE"], content["CUDA_VISIBLE_DEVICES"]) == ("cpu", "")
    assert "handler" not in str(content["PYTHONPATH"])
    assert server.key == "small/1 thread"


def test_variant_with_our_engine_gets_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = started(tmp_path, monkeypatch, 1)
    content = answer_of(server)
    assert content["arguments"] == [str(tmp_path / "archive"), "int8"]
    assert str(content["PYTHONPATH"]).endswith("/handler")
    assert (server.key, server.title) == ("small/our engine int8", "Small, our engine int8")


def test_variant_on_a_gpu_sees_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    monkeypatch.setattr(peer_server, "find_gpu", lambda _: None)
    server = started(tmp_path, monkeypatch, 2)
    content = answer_of(server)
    assert (server.device, content["DEVICE"], content["CUDA_VISIBLE_DEVICES"]) == ("gpu", "cuda", "2")


def test_variant_on_a_gpu_is_left_out_where_its_own_packages_cannot_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_gpu(python: Path) -> None:
        raise NoGpuError(f"PyTorch of {python} cannot compute on it")

    monkeypatch.setattr(peer_server, "find_gpu", find_gpu)
    with pytest.raises(CandidateError, match="cannot compute"):
        started(tmp_path, monkeypatch, 2).prepare()


def test_variant_whose_archive_is_missing_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = started(tmp_path, monkeypatch, 1)
    server.archives = {}
    with pytest.raises(CandidateError, match="int8 archive"):
        server.prepare()


def test_failed_preparation_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = started(tmp_path, monkeypatch, 0, TOML.replace("open(", "no_such_function("))
    with pytest.raises(CandidateError, match="preparation failed"), server.run():
        pass


@pytest.mark.needs("network-namespaces")
def test_server_in_a_namespace_answers_there_and_the_namespace_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its own name: a benchmark may be running on this machine.
    monkeypatch.setattr(peer_server, "NAMESPACE", "bench-test")
    toml = TOML.replace("extra_ports = 1", "extra_ports = 1\nnamespace = true")
    assert answer_of(started(tmp_path, monkeypatch, 0, toml))["OMP_NUM_THREADS"] == "1"
    assert not Path("/run/netns/bench-test").exists()


def test_namespace_without_root_says_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(CandidateError, match="root"), network_namespace("bench-test"):
        pass
