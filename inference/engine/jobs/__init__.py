"""The measuring jobs of the child: each is a function (Task, Progress) -> result dict."""
