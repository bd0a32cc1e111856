"""Hardware in the loop: the simulated cell, the instruments around it, the rig joining them."""
