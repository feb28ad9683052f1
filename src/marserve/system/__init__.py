"""The operating system: locks, signals, ports, processes, files. Modules import only the standard library."""
