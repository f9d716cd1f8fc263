"""FFmpeg processes: command lines, start and stop, progress, the feed's pipe."""
