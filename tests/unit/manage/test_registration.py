"""Whether a stack takes new archives while it runs: off unless ``serve`` was asked for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from marserve.cli.main import read
from marserve.errors import MarserveError
from marserve.manage.deployment import Plan, check_plan
from marserve.manage.running_stack import RunningStack
from marserve.stack.options import Concurrency, Options
from marserve.stack.ports import Ports
from marserve.stack.run_directory import RunDirectory, State
from marserve.stack.torchserve import TorchServe
from marserve.system.processes import ProcessRecord
from marserve.torchserve import properties
from tests.unit.manage.listed import a_version


def a_stack(parent: Path, *, model_api: bool, web_port: int = 5000) -> RunningStack:
    directory = RunDirectory(web_port, parent)
    temp = directory.prepare()
    ports = Ports(web_port=web_port)
    configured = {"enable_model_api": "false"}
    options = Options(model_api=model_api)
    torchserve = TorchServe(Path("java"), ports, directory, temp, options, Concurrency(1, 1), configured)
    directory.config.write_text(properties.render(torchserve.settings), encoding="ascii")
    return RunningStack(directory, State(ports, "tmp", ProcessRecord("serve", 1, 0.0)))


@pytest.mark.parametrize(("arguments", "model_api"), [([], False), (["--model-api"], True)])
def test_the_option_decides(arguments: list[str], model_api: bool, tmp_path: Path) -> None:
    options = read("serve", arguments)
    assert options.model_api == model_api
    assert a_stack(tmp_path, model_api=options.model_api).allows_registration == model_api


def test_a_stack_that_takes_none_says_how_to_start_one_that_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARSERVE_WEB_PORT", "5100")
    stack = a_stack(tmp_path, model_api=False, web_port=5100)
    plan = Plan("resnet18", tmp_path, "2.0", [tmp_path], 0.9, None, False, False)
    with pytest.raises(MarserveError) as refused:
        check_plan(stack, plan, [a_version()])
    again = "./scripts/stop --port 5100 && MARSERVE_WEB_PORT=5100 ./scripts/serve --detach --model-api"
    assert again in str(refused.value)
