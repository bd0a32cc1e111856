"""The simulated lithium-metal cell: physics, hidden truth, conserved lithium."""
