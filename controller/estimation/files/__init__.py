"""What a logged file says: its defects, cycles, resistances and course."""
