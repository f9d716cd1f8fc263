"""Webhooks out: other systems get the events that they chose.

`models` are the rows, `outbox` is the sink that writes deliveries in the transaction of the
event, `sender` sends them, and `client` is the only access to the network.
"""
