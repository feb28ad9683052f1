"""Weights for an archive: finding them, downloading them, and reading them without running anything from the file."""
