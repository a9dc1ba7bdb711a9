"""Wrong backward passes, one file for each exercise. They are texts, and never imported.

A function here is one mistake. Its docstring is what is said to whoever makes it. Its lines are put in front of the
last `return` of the shipped solution, so all names of that function, forward and backward, mean what they mean there.
"""
