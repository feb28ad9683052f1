"""Answers to pictures that were asked about before."""
