"""``marserve serve`` from its start to its end: it starts the stack, stays with it, and ends it."""
