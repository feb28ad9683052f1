"""The command line. A file a command; only the standard library is imported until set-up is done."""
