"""The calendar: blocks are edited, previewed, and published as a guide."""
