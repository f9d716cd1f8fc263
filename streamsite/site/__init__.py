"""The composition: the only part that knows all apps."""
