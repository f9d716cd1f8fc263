"""The calendar: editing and previewing blocks, and the published guide."""
