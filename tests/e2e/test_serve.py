"""TorchServe as ``scripts/serve`` starts it: what callers get, and what survives."""

from __future__ import annotations

import base64
import io
import json
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from PIL import Image

from marserve.handler.resnet18.groups import ANSWERS, GROUP, decode_answers, encode_group
from marserve.handler.resnet18.requests import BARE_PICTURE
from marserve.system.loopback import LOOPBACK
from marserve.torchserve.key_file import Kind
from tests.cases.forms import END, FIELDS, MULTIPART, URL_ENCODED, field, file
from tests.e2e.serving import ANSWER_S, SERVE, Stack, run, wait_for
from tests.support import CAT

JPEG = CAT.read_bytes()
BASE64 = base64.b64encode(JPEG).decode()
TRUNCATED = JPEG[: len(JPEG) // 2]
DEMONSTRATION = "efficientnet_lite0"


AS_JSON = {"Content-Type": "application/json"}


def form(parts: bytes) -> dict[str, Any]:
    return {"data": parts + END, "headers": {"Content-Type": MULTIPART}}


@pytest.mark.needs("curl")
def test_the_printed_curl_line_works_as_it_stands(served: Stack) -> None:
    line = next(line for line in served.announcement.splitlines() if line.startswith("Try it:"))
    command = line.removeprefix("Try it:").strip()
    done = run(["bash", "-c", f"{command} --silent --show-error --write-out '\\n%{{http_code}}'"], served.environment)
    body, status = done.stdout.rsplit("\n", 1)
    assert (done.returncode, status) == (0, "200"), done.stderr
    assert "cat" in json.loads(body)[0]["label"]


def test_starting_twice_says_so_and_changes_nothing(served: Stack) -> None:
    before = {process.pid for process in served.processes()}
    again = served.run("serve", "--detach", *SERVE)
    assert again.returncode == 0
    assert f"Already running on web port {served.ports.web_port}" in again.stdout
    assert {process.pid for process in served.processes()} == before


@pytest.mark.parametrize("kind", ["inference", "management"])
def test_the_token_script_prints_a_token_that_is_taken(served: Stack, kind: Kind) -> None:
    printed = served.run("token", kind)
    assert (printed.returncode, printed.stderr) == (0, "")
    assert served.authorization(kind) == {"Authorization": f"Bearer {printed.stdout.strip()}"}


@pytest.mark.parametrize(
    ("headers", "status"),
    [({}, 400), ({"Authorization": "Bearer wrong"}, 400), ({"Authorization": "nonsense"}, 400)],
    ids=["none", "wrong", "malformed"],
)
def test_a_token_is_needed(served: Stack, headers: dict[str, str], status: int) -> None:
    for url in (f"{served.inference}/predictions/resnet18", f"{served.management}/models"):
        method = "POST" if "predictions" in url else "GET"
        assert requests.request(method, url, headers=headers, data=JPEG, timeout=ANSWER_S).status_code in (401, status)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param({"data": JPEG}, id="raw"),
        pytest.param({"data": JPEG, "method": "PUT"}, id="put"),
        pytest.param({"data": JPEG, "headers": {"Content-Type": "image/jpeg"}}, id="typed"),
        pytest.param({"files": {"any_name": JPEG}}, id="multipart"),
        pytest.param({"json": {"image": BASE64}}, id="json"),
        pytest.param(form(FIELDS + file(b'filename="cat.jpg"', JPEG)), id="form of 40 fields"),
        pytest.param(form(FIELDS + field(b"anything", JPEG)), id="form without a file name"),
        pytest.param(form(FIELDS + file(b"filename*=UTF-8''%e7%8c%ab.jpg", JPEG)), id="form with filename* alone"),
        pytest.param(form(FIELDS + file('filename="表"'.encode("shift-jis"), JPEG)), id="file name in Shift-JIS"),
        pytest.param(
            form(FIELDS + field(b"canvas", f"data:image/jpeg;base64,{BASE64}".encode())), id="data URL in form"
        ),
        pytest.param({"data": {"image": BASE64}}, id="URL-encoded form"),
        pytest.param({"data": f"image={BASE64}", "headers": {"Content-Type": URL_ENCODED}}, id="not really encoded"),
        pytest.param({"json": {"image": f"data:image/jpeg;base64,{BASE64}"}}, id="data URL in JSON"),
        pytest.param({"json": {"image": base64.encodebytes(JPEG).decode()}}, id="base64 in lines"),
        pytest.param({"json": {"image": base64.urlsafe_b64encode(JPEG).decode().rstrip("=")}}, id="URL-safe base64"),
        pytest.param({"json": BASE64}, id="string in JSON"),
        pytest.param({"data": json.dumps({"image": BASE64}).encode("utf-16"), "headers": AS_JSON}, id="JSON in UTF-16"),
        pytest.param(
            {"data": json.dumps({"image": BASE64}), "headers": {"Content-Type": "text/plain"}}, id="JSON as text"
        ),
        pytest.param({"data": json.dumps({"image": BASE64})}, id="JSON of no type"),
        pytest.param({"data": BASE64, "headers": {"Content-Type": "text/plain"}}, id="base64 as text"),
        pytest.param({"data": JPEG, "headers": AS_JSON}, id="picture as JSON"),
        pytest.param({"data": JPEG, "headers": {"describe": "True"}}, id="describe-header"),
        pytest.param({"data": JPEG, "headers": {"explain": "True"}}, id="explain-header"),
    ],
)
def test_every_form_of_a_request_gets_the_same_true_labels(served: Stack, request_: dict[str, Any]) -> None:
    answer = served.predict(DEMONSTRATION, **request_)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.json() == served.predict(DEMONSTRATION).json()
    best = answer.json()["predictions"][0]
    assert (best["class_id"], best["wnid"], best["label"]) == (285, "n02124075", "Egyptian cat")


def test_instances_are_answered_by_a_list(served: Stack) -> None:
    answer = served.predict(json={"instances": [{"b64": BASE64}, {"b64": BASE64}], "top_k": 3})
    assert answer.status_code == 200, answer.text
    first, second = answer.json()
    assert first == second
    assert first == served.predict(data=JPEG, headers={"X-Top-K": "3"}).json()


@pytest.mark.parametrize("count", [1, 7, 1000])
def test_x_top_k_chooses_how_many_predictions_there_are(served: Stack, count: int) -> None:
    predictions = served.predict(data=JPEG, headers={"X-Top-K": str(count)}).json()["predictions"]
    assert len(predictions) == count


@pytest.mark.parametrize(
    ("request_", "status", "kind"),
    [
        pytest.param({"data": TRUNCATED}, 400, "InvalidImage", id="truncated"),
        pytest.param({"data": b"", "headers": {"Content-Type": "image/jpeg"}}, 400, "InvalidImage", id="empty"),
        pytest.param({"data": b"just text"}, 415, "UnsupportedImage", id="text"),
        pytest.param({"data": b"\xff\xd8" + bytes(16_000_000)}, 413, "ImageTooLarge", id="too-many-bytes"),
        pytest.param({"data": JPEG, "headers": {"X-Top-K": "0"}}, 400, "InvalidParameter", id="top-k"),
        pytest.param({"json": {"picture": ""}}, 400, "InvalidRequest", id="json"),
    ],
)
def test_errors_have_their_status_and_the_one_shape(
    served: Stack, request_: dict[str, Any], status: int, kind: str
) -> None:
    answer = served.predict(**request_)
    assert answer.json() == {"code": status, "type": kind, "message": answer.json()["message"]}
    assert answer.status_code == status


def test_an_explanation_adds_the_map_of_the_first_class(served: Stack) -> None:
    answer = served.predict(endpoint="explanations")
    assert answer.status_code == 200, answer.text
    content = answer.json()
    assert content["predictions"] == served.predict().json()["predictions"]
    assert [len(row) for row in content["explanation"]["map"]] == [7] * 7


def test_the_management_api_describes_what_is_served(served: Stack) -> None:
    url = f"{served.management}/models/{DEMONSTRATION}?customized=true"
    answer = requests.get(url, headers=served.authorization("management"), timeout=ANSWER_S)
    description = answer.json()[0]["customizedMetadata"]
    description = json.loads(description) if isinstance(description, str) else description
    assert description["architecture"] == DEMONSTRATION
    assert description["weights"]["trained"] is True


def test_bad_pictures_sent_together_with_good_ones_leave_these_untouched(served: Stack) -> None:
    expected = served.predict().json()["predictions"]
    headers = served.authorization() | {"Content-Type": "image/jpeg"}
    bodies = [JPEG, TRUNCATED, JPEG, b"", JPEG, b"just text", JPEG, JPEG]

    def ask(body: bytes) -> requests.Response:
        url = f"{served.inference}/predictions/resnet18"
        return requests.post(url, data=body, headers=headers, timeout=ANSWER_S)

    with ThreadPoolExecutor(len(bodies)) as pool:
        for _ in range(3):  # they arrive together, and which of them share a batch is TorchServe's choice
            answers = list(pool.map(ask, bodies))
            assert [answer.status_code for answer in answers] == [200, 400, 200, 400, 200, 415, 200, 200]
            for answer in answers:
                if answer.status_code == 200:
                    for found, alone in zip(answer.json()["predictions"], expected, strict=True):
                        assert found == alone | {"probability": pytest.approx(alone["probability"], abs=1e-6)}


def test_pictures_of_a_group_are_answered_as_each_alone(served: Stack) -> None:
    large = io.BytesIO()
    Image.new("RGB", (8000, 5000), "teal").save(large, "JPEG")
    pictures = [(5, JPEG), (5, TRUNCATED), (2, large.getvalue()), (0, JPEG), (1, JPEG)]
    answer = served.predict(data=b"".join(encode_group(pictures)), headers={"Content-Type": GROUP})
    assert (answer.status_code, answer.headers["Content-Type"]) == (200, ANSWERS)
    seconds, answers = decode_answers(answer.content)
    assert 0 < seconds < ANSWER_S
    assert [status for status, _ in answers] == [200, 400, 200, 400, 200]
    for (top_k, picture), (status, body) in zip(pictures, answers, strict=True):
        alone = served.predict(data=picture, headers={"Content-Type": BARE_PICTURE, "X-Top-K": str(top_k)})
        assert alone.status_code == status
        if status == 200:  # whose last digits depend on the batch
            for found, expected in zip(json.loads(body)["predictions"], alone.json()["predictions"], strict=True):
                assert found == expected | {"probability": pytest.approx(expected["probability"], abs=1e-6)}
        else:
            assert body == alone.content
    refused = served.predict(data=b"no group", headers={"Content-Type": GROUP})
    assert (refused.status_code, refused.json()["type"]) == (400, "InvalidRequest")


def test_metrics_are_in_prometheus_format(served: Stack) -> None:
    served.predict()
    text = requests.get(served.metrics, timeout=ANSWER_S).text
    counts = [line for line in text.splitlines() if line.startswith("ts_inference_requests_total{")]
    assert any('model_name="resnet18"' in line and float(line.split()[-1]) >= 1 for line in counts), text


#: In the worker's line about the refusal of what is no picture.
REFUSED = "415 UnsupportedImage"


def test_answered_requests_are_not_logged_by_the_worker_and_refused_ones_without_content(served: Stack) -> None:
    model_log = served.run_directory.logs / "model_log.log"

    def refuse_one(marker: str) -> str:
        """What the worker has logged when the refusal of these bytes has come there."""
        before = model_log.read_text(encoding="utf-8").count(REFUSED)
        assert served.predict(data=marker.encode(), headers={"Content-Type": "text/plain"}).status_code == 415
        wait_for(lambda: model_log.read_text(encoding="utf-8").count(REFUSED) > before)
        return model_log.read_text(encoding="utf-8")

    marker = f"content-{uuid.uuid4()}"
    before = refuse_one(marker)
    for _ in range(50):
        assert served.predict().status_code == 200
    logged = refuse_one(marker).removeprefix(before).splitlines()
    assert sum(REFUSED in line for line in logged) == 1
    assert len(logged) < 50  # a worker that starts meanwhile has a few lines to write
    assert marker not in served.logs()


def test_nothing_listens_anywhere_but_on_loopback(served: Stack) -> None:
    connections = [connection for process in served.processes() for connection in process.net_connections(kind="inet")]
    listening = {connection.laddr for connection in connections if connection.status == psutil.CONN_LISTEN}
    assert {address.port for address in listening} >= {served.ports.web_port, served.ports.inference_port}
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {LOOPBACK}


def test_a_worker_on_the_cpu_never_loads_torch(served: Stack) -> None:
    assert served.predict().status_code == 200
    for pid in served.worker_pids("resnet18"):
        libraries = {Path(mapped.path).name for mapped in psutil.Process(pid).memory_maps()}
        assert any(name.startswith("libopenvino") for name in libraries)
        assert not any(name.startswith("libtorch") for name in libraries)


def test_a_killed_worker_is_replaced_without_a_restart_of_the_server(served: Stack) -> None:
    server = served.state().processes[0].pid
    killed = served.worker_pids("resnet18")
    for pid in killed:
        psutil.Process(pid).kill()
    give_up = time.monotonic() + 90
    statuses: list[int | str] = []
    while statuses[-1:] != [200] and time.monotonic() < give_up:
        try:
            statuses.append(served.predict().status_code)
        except requests.ReadTimeout:
            # TorchServe can lose the request that it hands to a worker in the moment of its death.
            statuses.append("lost")
        time.sleep(0.5)
    assert statuses[-1] == 200, statuses
    assert served.state().processes[0].pid == server
    assert psutil.pid_exists(server)
    assert not set(killed) & set(served.worker_pids("resnet18"))
