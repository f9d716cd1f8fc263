"""FFmpeg and ffprobe on files: bounded runs, probes, the MP4 container. No Django models."""
