"""How many workers, pods and cores some traffic takes, by simulation of what one pod was measured to do.

docs/planning.md explains the model and shows it beside real runs.
"""
