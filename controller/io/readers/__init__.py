"""Readers of cycler files: what a file is, is found from its content, never from its name."""

from controller.io.readers.read import read_table
from controller.io.readers.spectrum import SpectrumFile, read_spectra

__all__ = ["SpectrumFile", "read_spectra", "read_table"]
