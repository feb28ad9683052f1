"""Build time: weights become an exported graph, and that a checked .mar."""
