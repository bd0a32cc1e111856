"""Protocols as data: validated steps, checks against cell, limits and cycler, and the recipes."""
