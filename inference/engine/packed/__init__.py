"""The padding-free encoder: one forward pass for a family of architectures that differ in names and options."""
