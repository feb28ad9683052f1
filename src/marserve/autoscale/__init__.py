"""The autoscaler of one machine: as many workers of each model as keep its requests from waiting, and no more.

docs/autoscaling.md explains its rules. ``python -m marserve.autoscale`` runs it beside a stack, ``bench.simulation``
shows it at work without one.
"""
