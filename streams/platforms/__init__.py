"""Asks the platforms, through accounts of the operator, what viewers get."""
