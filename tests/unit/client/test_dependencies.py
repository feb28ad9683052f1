"""The client needs requests, and nothing else that has to be installed."""

from __future__ import annotations

import subprocess
import sys

#: Imports every module of the client where nothing can be imported but this, the standard library and requests.
IMPORT_ALL = """
import importlib, pkgutil, sys
ALLOWED = {"marserve", "requests", "urllib3", "idna", "certifi", "charset_normalizer", *sys.stdlib_module_names}

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ALLOWED:
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocked())
import marserve.client
names = [found.name for found in pkgutil.iter_modules(marserve.client.__path__, "marserve.client.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def test_the_client_needs_requests_alone() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 5
