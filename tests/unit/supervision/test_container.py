"""Half a stack in a container: when it ends, what it shows, and what it says to probes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest

from marserve import probe
from marserve.errors import MarserveError
from marserve.probe import QUESTIONS, SILENT_S
from marserve.stack.options import Options
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory
from marserve.supervision import container, notify
from marserve.supervision.notify import Heartbeat
from marserve.system.files import locked
from marserve.system.waiting import wait_until
from tests.unit.supervision.fake_services import PATIENCE_S, FakeStack, looking_after


def asks(home: Path, question: str, port: int | str = 5000) -> tuple[int, str]:
    """Exit status and reason of a probe, as an orchestrator starts it."""
    environment = {"MARSERVE_HOME": str(home), "MARSERVE_WEB_PORT": str(port)}
    command = [sys.executable, "-I", "-m", "marserve.probe", question]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, (done.stdout + done.stderr).strip()


def test_probes_tell_what_the_supervisor_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "BEAT_S", 0.1)
    stack = FakeStack(tmp_path / ".run")
    port = int(stack.run_directory.path.name)

    def all_answers() -> dict[str, int]:
        return {question: asks(tmp_path, question, port)[0] for question in QUESTIONS}

    try:
        assert asks(tmp_path, "alive", port)[0] == 1
        heartbeat = Heartbeat(stack.run_directory.heartbeat)
        assert all_answers() == {"started": 1, "alive": 0, "ready": 1}, "archives are read, and the like"
        with looking_after(stack.supervisor(heartbeat)):
            assert wait_until(lambda: set(all_answers().values()) == {0}, PATIENCE_S)
            (stack.run_directory.path / "broken").touch()
            stack.process().kill()
            assert wait_until(lambda: all_answers() == {"started": 0, "alive": 0, "ready": 1}, PATIENCE_S)
            assert asks(tmp_path, "ready", port)[1] == "something is being restarted: see the log"
            (stack.run_directory.path / "broken").unlink()
            assert wait_until(lambda: set(all_answers().values()) == {0}, PATIENCE_S)
    finally:
        stack.end()


def test_a_supervisor_that_is_gone_or_hangs_is_not_alive(tmp_path: Path) -> None:
    run_directory = RunDirectory(5000, tmp_path / ".run")
    run_directory.prepare()
    script = "import sys, time; from pathlib import Path; from marserve.supervision.notify import Heartbeat; "
    script += "beats = Heartbeat(Path(sys.argv[1])); beats.alive(works=True); print(flush=True); time.sleep(60)"
    command = [sys.executable, "-c", script, str(run_directory.heartbeat)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert asks(tmp_path, "alive") == (0, "")
        written = run_directory.heartbeat.read_bytes()
        stamp = float(written.split()[0])
        run_directory.heartbeat.write_bytes(b"%020.3f 1 1\n" % (stamp - SILENT_S - 1))
        assert asks(tmp_path, "alive") == (1, f"the supervisor has done nothing for {SILENT_S:g} s")
        run_directory.heartbeat.write_bytes(written)
        other.kill()
    assert asks(tmp_path, "started") == (1, "not started: no supervisor is there")
    next_one = Heartbeat(run_directory.heartbeat)
    assert asks(tmp_path, "started") == (1, "starting"), "what one before it wrote is not its own"
    assert asks(tmp_path, "started", "tcp://10.96.0.7:5000") == (1, "starting"), "a Service is called marserve-web"
    next_one.close()


def test_a_directory_has_one_supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "LOCK_S", 0.1)
    first = Heartbeat(tmp_path / "heartbeat")
    with pytest.raises(MarserveError, match="still holds"):
        Heartbeat(tmp_path / "heartbeat")
    first.close()


def test_wrong_questions_are_refused() -> None:
    assert asks(Path("/"), "reddy") == (2, "usage: python3 -I -m marserve.probe started|alive|ready|web")


@pytest.mark.parametrize(("status", "expected"), [(200, (0, "")), (503, (1, "503 not yet"))])
def test_a_probe_asks_the_web_service_whether_it_is_ready(status: int, expected: tuple[int, str]) -> None:
    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()
            self.wfile.write(b"not yet" if status != 200 else b"yes")

        def log_message(self, *_: object) -> None:
            """Nowhere."""

    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        assert asks(Path("/"), "web", server.server_port) == expected
        thread.join()
        port = server.server_port
    assert asks(Path("/"), "web", port)[0] == 1


def test_a_web_service_that_listens_on_ipv6_alone_is_asked_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "ADDRESSES", ("127.0.0.2", "127.0.0.1"))
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        assert probe.web_reason(str(server.server_port), tls=False).startswith("501 ")
        thread.join()
        port = server.server_port
    assert probe.web_reason(str(port), tls=False).startswith("no answer: ")


def test_probes_import_next_to_nothing() -> None:
    script = "import sys; before = set(sys.modules); import marserve.probe; print(sorted({*sys.modules} - before))"
    done = subprocess.run([sys.executable, "-I", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['fcntl', 'marserve', 'marserve.probe']"


def test_torchserve_ends_after_the_web_service_however_that_does(tmp_path: Path) -> None:
    lock, asked = tmp_path / "web.lock", Event()
    script = "import sys, time; from pathlib import Path; from marserve.system.files import locked\n"
    script += "with locked(Path(sys.argv[1]), shared=True): print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script, str(lock)], stdout=subprocess.PIPE) as web:
        assert web.stdout is not None
        web.stdout.readline()
        over = container._outliving(lock, asked, 60)
        asked.set()
        assert not over.wait(0.5)
        web.send_signal(signal.SIGKILL)
        assert over.wait(PATIENCE_S)


def test_torchserve_ends_at_once_where_no_web_service_was_there(tmp_path: Path) -> None:
    asked = Event()
    over = container._outliving(tmp_path / "web.lock", asked, 60)
    assert not over.wait(0.2)
    asked.set()
    assert over.wait(PATIENCE_S)


def test_that_nobody_reads_what_it_says_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = Event()

    def refuse(_: str) -> None:
        said.set()
        raise BrokenPipeError

    asked = Event()
    monkeypatch.setattr(container, "say", refuse)
    with locked(tmp_path / "web.lock", shared=True):
        over = container._outliving(tmp_path / "web.lock", asked, 60)
        asked.set()
        assert said.wait(PATIENCE_S)
        assert not over.wait(0.3)
    assert over.wait(PATIENCE_S)


@pytest.mark.parametrize("way", ["grace", "again"])
def test_torchserve_does_not_wait_for_ever(tmp_path: Path, way: str, capsys: pytest.CaptureFixture[str]) -> None:
    lock, asked = tmp_path / "web.lock", Event()
    with locked(lock, shared=True):
        over = container._outliving(lock, asked, 0.5 if way == "grace" else 60)
        asked.set()
        assert wait_until(lambda: not asked.is_set(), PATIENCE_S)
        if way == "again":
            asked.set()
        assert over.wait(PATIENCE_S)
    assert "going on for the web service until it has ended" in capsys.readouterr().out


def test_what_stands_in_the_logs_is_shown_as_json(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ts_log.log").write_text("2026-11-24T15:25:00,431 [INFO ] main org.pytorch.serve.X - of before\n")
    with container._shown(tmp_path):
        with (tmp_path / "ts_log.log").open("a") as log:
            log.write("2026-11-24T15:25:01,431 [WARN ] W-9000 org.pytorch.serve.X - Worker died\n\n")
        (tmp_path / "console.log").write_text("out of memory\n")
    shown = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert {(line["level"], line["logger"], line["message"]) for line in shown} == {
        ("WARNING", "ts_log W-9000", "Worker died"),
        ("INFO", "console", "out of memory"),
    }


def test_the_web_service_gets_what_it_needs_and_none_of_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replaced: list[tuple[Any, ...]] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "execve", lambda *arguments: replaced.append(arguments))
    monkeypatch.setenv("MARSERVE_DRAIN_S", "7")
    monkeypatch.delenv("MARSERVE_DEFAULT_MODEL", raising=False)
    monkeypatch.setattr(container, "RunDirectory", lambda port: RunDirectory(port, tmp_path))
    container.serve_web(Options(only="web", host="::"), Ports(web_port=5004, inference_port=8087))
    ((program, arguments, environment),) = replaced
    assert (program, *arguments[1:]) == (sys.executable, "-m", "marserve.web")
    ours = {name.partition("_")[2]: value for name, value in environment.items() if name.startswith("MARSERVE_")}
    assert (ours["WEB_HOST"], ours["WEB_PORT"], ours["INFERENCE_URL"]) == ("::", "5004", "http://127.0.0.1:8087")
    assert (ours["WEB_LOCK"], ours["KEY_FILE"]) == (f"{tmp_path}/5004/web.lock", f"{tmp_path}/5004/key_file.json")
    assert (ours["GRACE_S"], ours["DRAIN_S"]) == ("30", "7")
    assert "DEFAULT_MODEL" not in ours
    assert "TLS_PUBLISHED" not in ours
    assert Path.cwd() == Path("/"), "no module is imported from the directory that is shared"
