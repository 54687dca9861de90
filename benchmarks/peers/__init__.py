"""The other ways to serve the same model, each in an environment of its own, at pinned versions.

`python -m benchmarks.serving` starts them beside our server and loads all of them alike.
"""
