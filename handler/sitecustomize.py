"""Python runs this before anything else in a process that finds it on its path.

TorchServe puts an unpacked archive on the path of that archive's workers, so this is the one place from which something
can be done before TorchServe's worker imports torch.
"""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

if any(argument.endswith("model_service_worker.py") for argument in sys.orig_argv):
    from resnet18 import deferred_torch

    deferred_torch.install()

# Python runs only the first such file that it finds, and an environment may have one of its own, for monitoring, say.
_elsewhere = [directory for directory in sys.path if Path(directory).resolve() != Path(__file__).resolve().parent]
_spec = PathFinder.find_spec("sitecustomize", _elsewhere)
if _spec is not None and _spec.loader is not None:
    _spec.loader.exec_module(module_from_spec(_spec))
