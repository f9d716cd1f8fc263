"""Webhooks out: other systems are told what happens.

`models` are the rows, `outbox` writes what is to be told in the transaction in which it
happens, `sender` sends it, and `target` is the one door to the network.
"""
