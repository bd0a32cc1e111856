"""Reactivation controller for lithium-metal cells: watch, estimate, decide, act safely, learn."""

__version__ = "0.1.0"
