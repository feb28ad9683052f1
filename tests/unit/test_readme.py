"""What the READMEs and references say is what there is, in both languages.

tests/e2e/test_readme_commands.py runs their commands.
"""

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

#: Each exists in English and, as NAME.zh-CN.md, in Chinese.
DOCUMENTS = ("README.md", "docs/reference.md")
#: Set by ./scripts/serve itself, so not for users to set.
SET_BY_SERVE = {
    "web_host", "web_port", "inference_url", "management_url", "key_file", "default_model", "rollout_file",
    "quarantine_file", "supervision_file", "tls_published", "web_lock", "metrics_url",
}  # fmt: skip

#: Of the example in the Chinese README.
CHINESE_LABELS = {"埃及猫": "Egyptian cat", "虎纹猫": "tiger cat", "虎斑猫": "tabby"}

in_each_document = pytest.mark.parametrize("document", DOCUMENTS)


def english(document: str) -> str:
    return (REPOSITORY / document).read_text(encoding="utf-8")


def chinese(document: str) -> str:
    return (REPOSITORY / document.replace(".md", ".zh-CN.md")).read_text(encoding="utf-8")


def code_blocks(text: str) -> list[str]:
    """All but diagrams, whose words are translated, and without what makes the Chinese example's labels Chinese."""
    blocks = [block for block in re.findall(r"```.*?```", text, re.DOTALL) if not block.startswith("```mermaid")]
    blocks = [re.sub(r'"(\S+)\?lang=zh"', r"\1", block) for block in blocks]
    return [re.sub("|".join(CHINESE_LABELS), lambda name: CHINESE_LABELS[name[0]], block) for block in blocks]


def tables(text: str) -> list[list[list[str]]]:
    """Each table's rows without its head, each row's cells."""
    found = [table.splitlines()[2:] for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)]
    return [[[cell.strip() for cell in line.strip("|").split(" |")] for line in table] for table in found]


def defaults(text: str) -> dict[str, str]:
    """Name and default of every documented setting: of each table with such a column."""
    rows = (row for table in tables(text) for row in table if len(row) >= 3)
    return {row[0].strip("` "): row[1].strip() for row in rows if row[0].startswith("`")}


def links(text: str) -> list[str]:
    """Where it leads to, without chapters: their names are translated."""
    return [link.partition("#")[0].replace(".zh-CN.md", ".md") for link in re.findall(r"\]\(([^)]*)\)", text)]


def linked() -> list[tuple[str, str]]:
    """Each page for people, with each of its links within the repository."""
    pages = [page for folder in ("", "docs", "bench", "examples") for page in (REPOSITORY / folder).glob("*.md")]
    names = sorted(str(page.relative_to(REPOSITORY)) for page in pages)
    return [(name, link) for name in names for link in re.findall(r"\]\(((?!https?:)[^)]+)\)", english(name))]


@in_each_document
def test_both_languages_show_the_same_commands_and_answers(document: str) -> None:
    assert code_blocks(english(document)) == code_blocks(chinese(document))


@in_each_document
def test_both_languages_have_the_same_tables(document: str) -> None:
    ours, theirs = tables(english(document)), tables(chinese(document))
    assert [len(table) for table in ours] == [len(table) for table in theirs]
    assert defaults(english(document)) == defaults(chinese(document))
    # Of the first cells, what is code; words are translated.
    code = [[re.findall(r"`[^`]*`|\d{3}", row[0]) for row in table] for table in ours]
    assert code == [[re.findall(r"`[^`]*`|\d{3}", row[0]) for row in table] for table in theirs]


@in_each_document
def test_both_languages_have_the_same_chapters_and_links(document: str) -> None:
    assert english(document).count("\n## ") == chinese(document).count("\n## ")
    assert sorted(links(english(document))) == sorted(links(chinese(document)))


@pytest.mark.parametrize(("document", "link"), linked())
def test_every_link_leads_somewhere(document: str, link: str) -> None:
    path, _, anchor = link.partition("#")
    target = (REPOSITORY / document).parent / path if path else REPOSITORY / document
    assert target.exists()
    if anchor:
        headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_setting_of_the_web_service_is_documented_with_its_default() -> None:
    documented = defaults(english("docs/reference.md"))
    for name, field in WebSettings.model_fields.items():
        if name not in SET_BY_SERVE:
            default = "" if field.default in (None, ()) else str(field.default)
            assert documented.pop(variable(name)) == default
    assert not [name for name in documented if name.isupper() and not name.endswith("_PORT")]


def test_every_port_is_documented_with_its_default() -> None:
    documented = {
        name: default for name, default in defaults(english("docs/reference.md")).items() if name.endswith("_PORT")
    }
    ports = Ports()
    expected = {variable(field.name): str(getattr(ports, field.name)) for field in fields(ports)}
    assert documented == expected


def test_every_setting_of_the_archive_is_documented_with_its_value() -> None:
    config = yaml.safe_load((REPOSITORY / "config" / "model-config.yaml").read_text())
    handler = config.pop("handler")
    expected = {name: str(value) for name, value in config.items()}
    expected |= {f"handler.{name}": str(value) for name, value in handler.items()}
    documented = {
        name: default for name, default in defaults(english("docs/reference.md")).items() if not name.isupper()
    }
    assert documented == expected
    assert config.keys() < ModelConfig.model_fields.keys()
    assert handler.keys() == HandlerSettings.model_fields.keys()
