"""What a running stack is: written by ``serve``, read by ``stop``, ``token`` and the next ``serve``."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from marserve.stack.ports import Ports
from marserve.system.files import replace_text
from marserve.system.ports import LOOPBACK
from marserve.system.processes import ProcessRecord


@dataclass(frozen=True)
class StackModel:
    """One model of the stack; ``trained`` is false for seeded random weights."""

    name: str
    trained: bool


@dataclass(frozen=True)
class State:
    """One stack. ``ready`` turns true once it has answered; ``processes`` are in the order of their start."""

    ports: Ports
    temp: str
    #: The ``serve`` that starts it and, in the foreground, stays with it.
    serve: ProcessRecord
    models: list[StackModel] = field(default_factory=list)
    processes: list[ProcessRecord] = field(default_factory=list)
    ready: bool = False
    #: The address that the web service listens on.
    host: str = LOOPBACK
    #: The options and variables that it was started with.
    choices: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> State | None:
        """The state in ``file``; None where there is none, or none that this version wrote."""
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            return cls(
                ports=Ports(**content["ports"]),
                temp=content["temp"],
                serve=ProcessRecord(**content["serve"]),
                models=[StackModel(**model) for model in content["models"]],
                processes=[ProcessRecord(**process) for process in content["processes"]],
                ready=content["ready"],
                host=content.get("host", LOOPBACK),
                choices=content.get("choices", {}),
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, file: Path) -> None:
        """Replace ``file``; a reader sees the old state or the new one."""
        replace_text(file, json.dumps(asdict(self), indent=2))

    def with_process(self, process: ProcessRecord) -> State:
        """This state and one more process."""
        return replace(self, processes=[*self.processes, process])
