"""The supervisor: a second program with its own memory and the last word. It may only reduce."""
