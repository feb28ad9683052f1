"""The life cycle of one stack: start the services, watch and stop them.

A bare system Python runs everything up to the end of set-up, so modules import only the standard library; what needs
an installed package imports it where it is used.
"""
