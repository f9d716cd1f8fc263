"""Inspects files: what they are, how loud they are, and three pictures of each."""
