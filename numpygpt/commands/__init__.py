"""What each command does. `numpygpt/NAME.py` reads the options of a command, and only then imports `commands/NAME.py`.

So `--help` and a wrong option are answered before NumPy is loaded, which takes most of a command's start.
"""
