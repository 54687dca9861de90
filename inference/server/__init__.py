"""The inference server: a stateless replica that serves what the control plane's manifest names. No Django.

It goes on serving when the control plane is down; it never decides anything itself.
"""
