"""Marserve: builds, serves and operates TorchServe archives that classify images.

Nothing is imported here, so that each part costs only what it uses: ``marserve.client`` needs requests alone.
"""

__version__ = "0.2.0"
