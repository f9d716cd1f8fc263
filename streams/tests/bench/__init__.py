"""The test bench: a recording RTMP server, audits of its recordings, and a real node.

All parts are real: nginx records, FFmpeg plays, and the cluster is the product's own.
"""
