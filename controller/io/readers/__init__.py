"""Readers of cycler files: what a file is, is found from its content, never from its name."""

from controller.io.readers.read import read_table

__all__ = ["read_table"]
