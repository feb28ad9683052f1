"""A version on trial: it gets a share of the live pictures, and is compared with the version that callers know."""
