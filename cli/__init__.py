"""`assay`: the engineers' command. It stands alone: no Django, no torch, nothing of the two planes.

Checking sources needs the standard library only; reading a lock needs PyYAML, its signature needs cryptography.
"""
