"""Pulls to the weights at the start of a task, in closed form."""
