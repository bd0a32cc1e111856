"""Charge, Coulombic efficiency, resistance, lithium inventory, each with its uncertainty."""
