"""Which host a picture goes to, where haproxy chooses by its bytes."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import requests
from urllib3.filepost import encode_multipart_formdata

from marserve.system.waiting import wait_until
from tests.deploy.fake_hosts import (
    ANSWER_S,
    LARGE,
    Host,
    before,
    label,
)
from tests.deploy.proxy import Proxy
from tests.deploy.repeated_pictures import Load, measure

pytestmark = pytest.mark.needs("haproxy")


def pictures(count: int) -> list[bytes]:
    return [number.to_bytes(4, "big") * 5000 + b"\xff\r\n\xd8" + os.urandom(100) for number in range(count)]


def as_form(picture: bytes, boundary: str, name: str) -> tuple[bytes, str]:
    return encode_multipart_formdata({"top_k": "3", "file": (name, picture, "image/jpeg")}, boundary)


def forms_of(picture: bytes) -> list[tuple[bytes, dict[str, str]]]:
    """Bodies with their headers, in all of which one picture may come."""
    small, large = as_form(picture, "x7", "a.jpg"), as_form(picture, "----Form" + "y" * 40, "another name.jpeg")
    return [
        (picture, {"Content-Type": "image/jpeg"}),
        (picture, {}),
        (small[0], {"Content-Type": small[1]}),
        (large[0], {"Content-Type": large[1].replace("multipart/form-data", "Multipart/Form-Data")}),
    ]


def answered_by(proxy: Proxy, body: bytes, headers: dict[str, Any]) -> str:
    return label(requests.post(f"{proxy.url}/predict", data=body, headers=headers, timeout=ANSWER_S))


def test_one_picture_goes_to_one_host_however_it_is_sent(hosts: list[Host], tmp_path: Path) -> None:
    with before(hosts, tmp_path, PROXY_AFFINITY="1") as started:
        chosen = []
        for picture in pictures(20):
            seen = {answered_by(started, body, headers) for body, headers in forms_of(picture)}
            assert len(seen) == 1
            chosen.append(seen.pop())
        assert set(chosen) == {"one", "two"}
        assert len({answered_by(started, *form) for form in forms_of(LARGE)}) == 1  # more than the buffer holds


@pytest.mark.parametrize(
    "body", [b"", b"--", b"--x\r\n", b'--x\r\nfilename="', b'--x\r\nfilename="a"\r\n\r\n', b"\r\n\r\n"]
)
def test_a_form_that_is_none_is_some_host_s_to_refuse(body: bytes, hosts: list[Host], tmp_path: Path) -> None:
    with before(hosts, tmp_path, PROXY_AFFINITY="1") as started:
        assert answered_by(started, body, {"Content-Type": "multipart/form-data; boundary=x"}) in {"one", "two"}
        assert "lua" not in started.log.read_text().lower()


def test_a_lost_host_s_share_is_all_that_moves(tmp_path: Path) -> None:
    hosts = [Host("one"), Host("two"), Host("three")]
    shown = pictures(60)
    try:
        with before(hosts, tmp_path, PROXY_AFFINITY="1") as started:
            first = [answered_by(started, picture, {}) for picture in shown]
            assert min(Counter(first).values()) > 5
            hosts[2].is_ready = False
            assert wait_until(lambda: not started.is_in_rotation("three"), 5)
            then = [answered_by(started, picture, {}) for picture in shown]
            assert all(a == b for a, b in zip(first, then, strict=True) if a != "three")
            assert "three" not in then
            hosts[2].is_ready = True
            assert wait_until(lambda: started.is_in_rotation("three"), 5)
            assert [answered_by(started, picture, {}) for picture in shown] == first
    finally:
        for host in hosts:
            host.stop()


def test_with_affinity_a_second_host_adds_its_cache(tmp_path: Path) -> None:
    """With the fewest requests at work as the rule, it keeps what the first one has, too."""
    load = Load(pictures=300, requests=700)
    entries = {"cache_max_entries": 40}
    diluted = asyncio.run(measure(load, 2, tmp_path, {}, entries))
    added = asyncio.run(measure(load, 2, tmp_path, {"PROXY_AFFINITY": "1"}, entries))
    assert diluted.hits + 0.04 < added.hits < load.repeated
    assert min(added.by_host) > 0.25
