"""Policies: facts of a revision, rules over them in CEL, the gate before an approval, and the simulator before a change."""
