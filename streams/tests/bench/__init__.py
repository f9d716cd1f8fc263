"""The test bench: a recording RTMP server, auditors of what it recorded, and a real node.

Nothing in it is a stand-in: nginx records, FFmpeg plays, the cluster is the product's own.
"""
