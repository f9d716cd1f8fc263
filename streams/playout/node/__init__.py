"""One node: the supervisor's loop over its channels."""
