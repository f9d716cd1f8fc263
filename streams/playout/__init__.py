"""Playout engine: supervises a channel's FFmpeg processes so that they carry out its orders.

The package imports no Django. Decisions are pure functions (`plan`, `timeline`,
`state_machine`, `air_state`, `diagnosis`, `commands`). Side effects are confined to `process`
(FFmpeg), `pipe` (the feed) and the ledger (the database).
"""
