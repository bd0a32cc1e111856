"""Composition root: configuration, runtime, command line, reports."""
