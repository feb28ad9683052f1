"""What somebody who can look at a running stack, but is not its user, gets to see; and what of TorchServe's jar runs.

One stack of its own: with secrets wherever there can be some, open to the network, with an autoscaler, and with a list
of the classes that Java loads.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import requests

from marserve.sbom.jar import jar_file, read_holes
from marserve.system.loopback import LOOPBACK, free_ports
from marserve.torchserve.key_file import read_keys
from tests.e2e.serving import ANSWER_S, SERVE, Stack, shared_stack
from tests.support import CAT

CANARY = "canary"
API_KEY = f"{CANARY}-api-key-0123456789"
#: Each secret that a person may give, by its variable.
SECRETS = {
    "MARSERVE_API_KEYS": f"{API_KEY},{CANARY}-second-key-0123456789",
    "MARSERVE_CLASSIFY_API_KEY": f"{CANARY}-classify-key-0123456789",
    "MARSERVE_CACHE_URL": f"redis://me:{CANARY}-redis@127.0.0.1:{{port}}/0",
    "HF_ENDPOINT": f"https://{CANARY}-hub@127.0.0.1:{{port}}",
    "HF_TOKEN": f"{CANARY}-hub-token",
    "https_proxy": f"http://me:{CANARY}-proxy@127.0.0.1:{{port}}",
    "AWS_SECRET_ACCESS_KEY": f"{CANARY}-aws",
}
#: Who has which of them, since it cannot do its work without.
HOLDERS = {
    "TorchServe": set[str](),
    "the web service": {"MARSERVE_API_KEYS", "MARSERVE_CACHE_URL"},
    "the autoscaler": {"MARSERVE_AUTOSCALE_API_KEY"},
}
JPEG = CAT.read_bytes()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file in which Java lists the classes that it loads."""
    return tmp_path_factory.mktemp("java") / "classes.log"


@pytest.fixture(scope="module")
def stack(request: pytest.FixtureRequest, loaded: Path) -> Iterator[Stack]:
    (port,) = free_ports(1)
    secrets = {name: value.format(port=port) for name, value in SECRETS.items()}
    java = {"JDK_JAVA_OPTIONS": f"-Xlog:class+load=info:file={loaded}"}
    with shared_stack(request, *SERVE, "--host", "0.0.0.0", "--autoscale", "1..2", **secrets, **java) as shared:  # noqa: S104
        yield shared.as_started()


@pytest.fixture(scope="module")
def answers(stack: Stack) -> str:
    """What callers and operators are told, after whatever they do, failures included."""
    key = {"X-API-Key": API_KEY}
    encoded = base64.b64encode(JPEG).decode()
    sent = [
        requests.post(f"{stack.web}/predict", files={"file": JPEG}, headers=headers, timeout=ANSWER_S)
        for headers in ({}, {"X-API-Key": f"wrong{API_KEY}"}, {"Authorization": f"Bearer {API_KEY}"})
    ]
    sent += [
        requests.post(f"{stack.web}/{path}", data=JPEG, headers=key, timeout=ANSWER_S)
        for path in ("predict", "predict?explain=true", "predict/resnet18?top_k=2", "predict?top_k=0", "predict/none")
    ]
    sent += [
        requests.post(f"{stack.web}/predict", json=body, headers=key, timeout=ANSWER_S)
        for body in ({"image": encoded}, {"instances": [{"b64": encoded}] * 3}, {"image": "no picture"})
    ]
    sent += [
        requests.get(f"{stack.web}/{path}", headers=key, timeout=ANSWER_S)
        for path in ("metrics", "models", "v2", "v2/models/resnet18", "healthz", "readyz", "openapi.json", "nowhere")
    ]
    # Where a key does not belong, and a person may put it all the same.
    sent.append(requests.get(f"{stack.web}/models", params={"api_key": API_KEY}, headers=key, timeout=ANSWER_S))
    ran = [
        stack.run("marserve", *command.split(), **SECRETS)
        for command in ("scale resnet18 --workers 2", "status", "logs", "doctor", "scale resnet18 --workers 1")
    ]
    ran.append(stack.run("serve", "--detach", "--workers", "9", MARSERVE_CACHE_URL=f"redis://me:{CANARY}-other@cache"))
    texts = [f"{answer.headers}\n{answer.text}" for answer in sent]
    return "\n".join([stack.announcement, *texts, *(f"{done.stdout}\n{done.stderr}" for done in ran)])


def environment(process: psutil.Process) -> set[str]:
    """The variables of ``process`` in which there is a secret."""
    return {name for name, value in process.environ().items() if CANARY in value}


def test_no_answer_and_no_command_tells_a_secret(stack: Stack, answers: str) -> None:
    tokens = read_keys(stack.run_directory.key_file)
    secrets = [CANARY, tokens.api_key, *(token.key for token in tokens.tokens.values())]
    assert [line for line in answers.splitlines() if any(secret in line for secret in secrets)] == []
    assert "MARSERVE_CACHE_URL: redis://me:...@cache with digest" in answers


def test_no_file_but_the_key_file_has_a_secret_and_no_other_user_can_read_any(stack: Stack, answers: str) -> None:
    assert answers
    directory = stack.run_directory
    tokens = read_keys(directory.key_file)
    secrets = [text.encode() for text in (CANARY, tokens.api_key, *(token.key for token in tokens.tokens.values()))]
    files = [file for file in directory.path.rglob("*") if file.is_file() and file != directory.key_file]
    assert {directory.state, directory.config, directory.logs / "web.log", directory.logs / "ts_log.log"} <= set(files)
    assert [file for file in files if any(secret in file.read_bytes() for secret in secrets)] == []
    assert directory.path.stat().st_mode & 0o077 == 0
    assert directory.key_file.stat().st_mode & 0o077 == 0


def test_no_process_shows_a_secret_and_each_has_only_those_that_it_needs(stack: Stack, answers: str) -> None:
    assert answers
    tokens = read_keys(stack.run_directory.key_file)
    secrets = [CANARY, tokens.api_key, *(token.key for token in tokens.tokens.values())]
    # The whole machine: a secret could have gone to a process that belongs to nobody any more.
    lines = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert [line for line in lines if any(secret in line for secret in secrets)] == []
    for name, held in HOLDERS.items():
        service = stack.process(name)
        assert environment(service) == held, name
        for worker in service.children(recursive=True):
            assert environment(worker) == set(), f"a process of {name}"


def test_only_the_web_service_listens_beyond_this_machine(stack: Stack) -> None:
    ports = stack.state().ports
    listening = {
        (service, connection.laddr.port, connection.laddr.ip.removeprefix("::ffff:"))
        for service in HOLDERS
        for process in (stack.process(service), *stack.process(service).children(recursive=True))
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }
    local = (
        ports.inference_port, ports.management_port, ports.metrics_port, ports.grpc_inference_port,
        ports.grpc_management_port,
    )  # fmt: skip
    expected = {("TorchServe", port, LOOPBACK) for port in local} | {("the web service", ports.web_port, "0.0.0.0")}  # noqa: S104
    assert listening == expected


def test_java_loads_no_class_that_has_a_known_hole(stack: Stack, answers: str, loaded: Path) -> None:
    assert answers
    lines = loaded.read_text(encoding="utf-8").splitlines()
    classes = {line.split()[1] for line in lines if str(jar_file()) in line}
    # The list is whole: it has what reads each request, and what first ran when the last one was answered.
    assert {"io.netty.handler.codec.http.HttpObjectDecoder", "org.pytorch.serve.job.RestJob"} <= classes
    assert [name for hole in read_holes().holes for name in hole.classes if name in classes] == []
    # Nor are there HTTP/2, TLS or DNS in what listens to the web service, nor anything that tests are made with.
    parts = ("io.netty.handler.codec.http2.", "io.netty.handler.ssl.", "io.netty.resolver.dns.", "org.testng.")
    assert [name for name in sorted(classes) if name.startswith(parts)] == []
    assert stack.readiness() == requests.codes.ok


def test_torchserve_neither_offers_http2_nor_takes_a_workflow(stack: Stack) -> None:
    upgrade = {"Connection": "Upgrade, HTTP2-Settings", "Upgrade": "h2c", "HTTP2-Settings": "AAMAAABkAAQAAP__"}
    answer = requests.get(f"{stack.inference}/ping", headers={**upgrade, **stack.authorization()}, timeout=ANSWER_S)
    assert answer.status_code == requests.codes.ok  # and not 101
    management = stack.authorization("management")
    for url in ("https://example.org/a.war", "file:///etc/passwd", "a.war", "../model_store/resnet18.mar"):
        answer = requests.post(
            f"{stack.management}/workflows", params={"url": url}, headers=management, timeout=ANSWER_S
        )
        assert answer.status_code >= requests.codes.bad_request, url
    assert list(stack.run_directory.workflow_store.iterdir()) == []
