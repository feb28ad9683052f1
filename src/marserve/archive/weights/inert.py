"""The content of a pickle, of which nothing runs: what is not plain data becomes a record of its name and parts."""

from __future__ import annotations

import pickle  # nosec B403 # for the reader that runs nothing
from typing import IO, Any, ClassVar

#: Each name costs a class of about 1 kB; checkpoints of training programs have fewer than a hundred.
_MOST_NAMES = 10_000
#: They allocate what the file claims, or reach into a registry of the process; torch.save writes none of them.
_NEVER_READ = (pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.EXT1, pickle.EXT2, pickle.EXT4)


class Inert:
    """Stands for an object of a file, or for the result of a call that the file asks for; does nothing.

    There is one subclass for each global that a file names; ``origin`` is that name, such as ``os.system``.
    """

    origin: ClassVar[str] = ""

    args: tuple[Any, ...]
    #: What ``__setstate__`` or the object's ``__dict__`` would have got.
    state: Any
    items: dict[Any, Any]
    elements: list[Any]

    def __new__(cls, *args: Any, **named: Any) -> Inert:
        made = super().__new__(cls)
        made.args, made.state, made.items, made.elements = args, None, dict(named), []
        return made

    def __init__(self, *args: Any, **named: Any) -> None:
        """Takes what ``__new__`` has kept."""

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def __setitem__(self, key: Any, value: Any) -> None:
        self.items[key] = value

    def append(self, element: Any) -> None:
        self.elements.append(element)

    add = append

    def __call__(self, *args: Any, **named: Any) -> Inert:
        return Inert(self, *args, **named)


class InertUnpickler(pickle._Unpickler):
    """Reads a pickle into plain data, ``Inert`` and, for what lies outside the pickle, its id as ``PersistentId``.

    An unpickler calls what stands on its stack. Here that is only ever a subclass of ``Inert``, since ``find_class`` is
    the one way for anything else to get there; so a file can neither call nor change anything of this process. Python's
    own implementation is used and not the one in C, which allocates 64 GiB for six bytes (LONG_BINPUT).
    """

    dispatch: ClassVar[dict[int, Any]] = {
        code: method for code, method in pickle._Unpickler.dispatch.items() if bytes([code]) not in _NEVER_READ
    }

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, encoding="utf-8", errors="replace")  # strings of Python 2
        self._classes: dict[str, type[Inert]] = {}
        #: All ids so far.
        self.ids: list[Any] = []

    def find_class(self, module: str, name: str) -> type[Inert]:
        origin = f"{module}.{name}"
        if origin not in self._classes:
            if len(self._classes) == _MOST_NAMES:
                raise pickle.UnpicklingError(f"it names more than {_MOST_NAMES} globals")
            self._classes[origin] = type("Inert", (Inert,), {"origin": origin})
        return self._classes[origin]

    def persistent_load(self, pid: Any) -> Any:
        match pid:
            case ("module", kind, *_):  # before PyTorch 1.6 a class came with its source
                return kind
        self.ids.append(pid)
        return PersistentId(pid)


class PersistentId(Inert):
    """The id, ``args[0]``, of what a pickle refers to outside itself: in torch.save's files, a storage."""
