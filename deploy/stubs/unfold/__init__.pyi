"""The parts of django-unfold that streamsite uses. It ships no types."""
