"""Impedance in real time: step resistances, a recursive circuit filter, spectra."""
