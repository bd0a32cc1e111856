"""When to act and why: state machine, scheduler, learning from withheld treatments."""
