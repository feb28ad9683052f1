"""What ``scripts/serve``, ``stop``, ``token``, ``test`` and ``check`` do: set up, start, watch and stop the services.

A bare system Python runs everything up to the end of set-up, so modules import only the standard library; what needs
an installed package imports it where it is used.
"""
