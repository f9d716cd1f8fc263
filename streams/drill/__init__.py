"""Drills: chosen faults on a channel that is on air, and the measured recovery."""
