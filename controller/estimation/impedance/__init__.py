"""Impedance: from steps while a cell runs, and from spectra."""
