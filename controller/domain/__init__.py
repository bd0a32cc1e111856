"""The words the rest is written in: samples, commands, cells, limits, verdicts, errors.

**Charging current is positive**, everywhere inside the project. Lithium is plated on the
negative electrode (or on Cu, in a Li||Cu cell) when the current is positive. Drivers, readers and
writers convert; nothing else does.
"""
