"""The demonstration: sample accounts, and the governed life of a model told over HTTP."""
