"""What the READMEs say is what there is, in both languages; tests/e2e/test_readme_commands.py runs their commands."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest
import yaml

from marserve.handler.resnet18.settings import HandlerSettings, ModelConfig
from marserve.stack.ports import Ports
from marserve.variables import variable
from marserve.web.settings import WebSettings
from tests.support import REPOSITORY

ENGLISH = (REPOSITORY / "README.md").read_text(encoding="utf-8")
CHINESE = (REPOSITORY / "README.zh-CN.md").read_text(encoding="utf-8")
#: Set by ./scripts/serve itself, so not for users to set.
SET_BY_SERVE = {"web_host", "web_port", "inference_url", "management_url", "key_file", "default_model"}


def code_blocks(readme: str) -> list[str]:
    return re.findall(r"```.*?```", readme, re.DOTALL)


def tables(readme: str) -> list[list[list[str]]]:
    """Each table's rows without its head, each row's cells."""
    found = [table.splitlines()[2:] for table in re.findall(r"(?:^\|.*\n)+", readme, re.MULTILINE)]
    return [[[cell.strip() for cell in line.strip("|").split(" |")] for line in table] for table in found]


def defaults(readme: str) -> dict[str, str]:
    """Name and default of every documented setting."""
    return {row[0].strip("` "): row[1].strip() for table in tables(readme) for row in table if len(row) >= 3}


def test_both_languages_show_the_same_commands_and_answers() -> None:
    assert code_blocks(ENGLISH) == code_blocks(CHINESE)


def test_both_languages_have_the_same_tables() -> None:
    english, chinese = tables(ENGLISH), tables(CHINESE)
    assert [len(table) for table in english] == [len(table) for table in chinese]
    assert defaults(ENGLISH) == defaults(CHINESE)
    # Of the first cells, what is code; words are translated.
    code = [[re.findall(r"`[^`]*`|\d{3}", row[0]) for row in table] for table in english]
    assert code == [[re.findall(r"`[^`]*`|\d{3}", row[0]) for row in table] for table in chinese]


def test_both_languages_have_the_same_chapters_and_links() -> None:
    assert ENGLISH.count("\n## ") == CHINESE.count("\n## ")
    links = re.compile(r"\]\((?!README)([^)]*)\)")
    assert sorted(links.findall(ENGLISH)) == sorted(links.findall(CHINESE))


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)h][^)]*)\)", ENGLISH + CHINESE))
def test_every_link_leads_somewhere(link: str) -> None:
    path, _, anchor = link.partition("#")
    assert (REPOSITORY / path).exists()
    if anchor:
        headings = re.findall(r"^#+ (.+)$", (REPOSITORY / path).read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_setting_of_the_web_service_is_documented_with_its_default() -> None:
    documented = defaults(ENGLISH)
    for name, field in WebSettings.model_fields.items():
        if name not in SET_BY_SERVE:
            default = "" if field.default in (None, ()) else str(field.default)
            assert documented.pop(variable(name)) == default
    assert not [name for name in documented if name.isupper() and not name.endswith("_PORT")]


def test_every_port_is_documented_with_its_default() -> None:
    documented = {name: default for name, default in defaults(ENGLISH).items() if name.endswith("_PORT")}
    ports = Ports()
    expected = {variable(field.name): str(getattr(ports, field.name)) for field in fields(ports)}
    assert documented == expected


def test_every_setting_of_the_archive_is_documented_with_its_value() -> None:
    config = yaml.safe_load((REPOSITORY / "config" / "model-config.yaml").read_text())
    handler = config.pop("handler")
    expected = {name: str(value) for name, value in config.items()}
    expected |= {f"handler.{name}": str(value) for name, value in handler.items()}
    documented = {name: default for name, default in defaults(ENGLISH).items() if not name.isupper()}
    assert documented == expected
    assert config.keys() < ModelConfig.model_fields.keys()
    assert handler.keys() == HandlerSettings.model_fields.keys()
