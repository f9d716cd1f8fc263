"""The playout engine: keeps a channel's FFmpeg processes doing what was ordered.

It imports no Django. Deciding is pure (`plan`, `timeline`, `machine`, `air`, `diagnosis`,
`commands`); acting happens in `process` (FFmpeg), `feed` (the pipe) and the ledger (the world).
"""
