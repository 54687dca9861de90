"""A sample Hub: the Hub's protocol, spoken locally over bare git repositories. No Django, no network."""
