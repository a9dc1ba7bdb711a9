"""What each command does. `numpygpt/NAME.py` has its options, and imports `commands/NAME.py` when they are read."""
