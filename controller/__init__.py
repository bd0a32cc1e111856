"""Reactivation controller for lithium-metal cells: watch, estimate, decide, act safely, learn."""
