"""The benchmark: this project's stack and its peers, measured side by side on one machine."""
