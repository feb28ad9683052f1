"""Set-up of a clone: its virtual environment with the locked packages. An installed package needs none."""
