"""Everything that touches an instrument: ports, guard, drivers, wire formats."""
