"""What ``scripts/manage.py --help`` teaches about each command."""

from __future__ import annotations

EXAMPLES = """examples:
  scripts/manage.py status --watch
      models, versions, workers and rates, again and again; Ctrl-C ends it
  scripts/manage.py scale resnet18 --workers 4
      four workers; returns when all are READY
  scripts/build_archive.py --weights new.pth --version 2.0 --output new
  scripts/manage.py deploy resnet18 --archive new/resnet18.mar --pictures photographs
      2.0 becomes the default if it answers these pictures as the present version does
  scripts/manage.py rollback resnet18
      back to the version before
  scripts/manage.py recover
      replaces workers that TorchServe has given up
  scripts/manage.py logs --errors --follow

exit status: 0 done, and for status: all is well; 1 it failed, and what was begun is undone, and for status: there are
problems; 2 wrong arguments, or a step that needs --yes. Steps that are hard to take back ask first.
"""

STATUS = """The default version of each model has a *. WAIT is the mean time in the queue; MEMORY counts pages that
workers share in part (PSS). A worker that TorchServe lists though it has ended for good is DEAD."""
SCALE = """New workers are waited for; if one cannot start, the old number is kept and its reason shown. Fewer workers
lose nothing: the web service asks again for what they were at work on."""
DEPLOY = """Registers the archive as a new version beside the present one, starts one worker, compares its answers with
the present version's, starts the other workers, warms them up, and makes the new version the default. Whatever fails on
the way, Ctrl-C included, removes the new version again; the old one answers throughout. The old version then keeps one
worker for rollback; the version before that is removed. Needs a stack started with ./scripts/serve --model-api.
Versions that were deployed are forgotten when the stack stops: start it with the new weights then."""
ROLLBACK = """The version that was the default before the last deploy gets its workers back, is warmed up and made the
default; the other one keeps one worker, so a second rollback takes the first back."""
DRAIN = """Waits until a version has nothing queued or at work, then takes its workers away; changes nothing where it
does not become idle in time. The default version first hands over to another one that has workers; where there is
none, the model answers 503 from then on."""
RECOVER = """A worker that fails for too long is given up by TorchServe, and stays on its list: scaling to the same
number does nothing. This takes it off and starts a new one. Workers before it on the list go on working; where the
first one is dead and others work, it asks, since all must be restarted."""
LOGS = (
    """TorchServe's log, what the workers print, and the web service's log; not one line a request of TorchServe's."""
)
