"""Writes the chart's README from the comments of its values; a test says when it is not current.

``# -- `` before a value begins its description, which lines with ``# `` continue: the form of helm-docs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

CHART = Path(__file__).resolve().parent.parent / "deploy" / "helm" / "marserve"
HEAD = """\
# Chart: Marserve

{description}. Version {version}, for Kubernetes {kubernetes}.

```bash
helm install marserve deploy/helm/marserve --namespace pictures --create-namespace --set image.registry=REGISTRY
helm test marserve --namespace pictures --logs
```

[docs/kubernetes.md](../../../docs/kubernetes.md) says what comes with it and why, and how it is tried.
`values-gpu.yaml` has workers on a GPU. What is misspelt is refused.

<!-- Made by docs/chart_readme.py from values.yaml: change it there. -->

## Values
"""


class Value(NamedTuple):
    path: str
    default: str
    description: str


def described(text: str) -> Iterator[Value]:
    """The described values of a values.yaml, in their order, with defaults as JSON."""
    values = yaml.safe_load(text)
    path: list[str] = []
    comment: list[str] = []
    for line in text.splitlines():
        if match := re.match(r" *# (-- )?(.*)", line):
            comment = [match[2]] if match[1] else [*comment, match[2]] if comment else []
        elif match := re.match(r"( *)([A-Za-z]\w*):", line):
            path[len(match[1]) // 2 :] = [match[2]]
            if comment:
                default: Any = values
                for key in path:
                    default = default[key]
                yield Value(".".join(path), json.dumps(default), " ".join(comment))
            comment = []
        else:
            comment = []


def render() -> str:
    values = (CHART / "values.yaml").read_text(encoding="utf-8")
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    lines = [
        HEAD.format(description=chart["description"], version=chart["version"], kubernetes=chart["kubeVersion"]),
        "| value | default | |",
        "|---|---|---|",
        *(f"| `{value.path}` | `{value.default}` | {value.description} |" for value in described(values)),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (CHART / "README.md").write_text(render(), encoding="utf-8")
