"""Faults under load: what breaks in production, one thing after the other, while 16 clients check every answer.

It takes 10 to 90 seconds a row, measured on two busy cores. Rows that lack something here, such as Redis or a cgroup to
write to, are left out and say what.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager

from tests.reliability import dying, misleading, starving
from tests.reliability.stage import Stage, opened
from tests.reliability.table import Row


def stage(_: argparse.Namespace) -> AbstractContextManager[Stage]:
    return opened()


#: Those that share a stack come first.
ROWS: Mapping[str, Callable[[Stage], Row]] = {
    "worker-killed": dying.worker_killed,
    "workers-killed": dying.workers_killed,
    "worker-stopped": dying.worker_stopped,
    "worker-out-of-memory": dying.worker_out_of_memory,
    "worker-memory-refused": dying.worker_memory_refused,
    "java-killed": dying.java_killed,
    "java-stopped": dying.java_stopped,
    "web-killed": dying.web_killed,
    "web-stopped": dying.web_stopped,
    "autoscaler-killed": dying.autoscaler_killed,
    "supervisor-killed": dying.supervisor_killed,
    "everything-killed": dying.everything_killed,
    "store-gone": misleading.store_unreadable,
    "tokens-renewed": misleading.tokens_renewed,
    "key-file-garbage": misleading.key_file_garbage,
    "files-exhausted": starving.files_exhausted,
    "idle-connections": starving.idle_connections,
    "slow-senders": starving.slow_senders,
    "archive-damaged": misleading.archive_damaged,
    "java-heap-exhausted": starving.java_heap_exhausted,
    "disk-full-logs": starving.disk_full_logs,
    "disk-full-temp": starving.disk_full_temp,
    "disk-full-java": starving.disk_full_java,
    "disk-full-store": starving.disk_full_store,
    "redis-stopped": misleading.redis_stopped,
    "redis-gone": misleading.redis_gone,
    "redis-garbage": misleading.redis_garbage,
    "clock-ahead": misleading.clock_ahead,
    "clock-back": misleading.clock_back,
}
