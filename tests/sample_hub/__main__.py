"""python -m tests.sample_hub serve|build|publish: the sample Hub from the command line."""

import argparse
import json
import sys
from pathlib import Path

from tests.sample_hub import code_model, samples
from tests.sample_hub.store import SampleHubStore


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sample_hub", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help='serve a root; prints "ready URL" once it answers')
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument("--port", type=int, required=True, help="0 takes a free port")
    serve.add_argument("--xet", action="store_true", help="also send Xet headers, with nothing behind them")
    build = commands.add_parser("build", help="create the sample repositories; prints their commits as JSON")
    build.add_argument("--cache", type=Path, required=True, help="keeps trained variants between builds")
    publish = commands.add_parser("publish", help="move main of the sample model to a version")
    publish.add_argument("variant", choices=(*samples.VARIANTS, *code_model.CODE_VARIANTS))
    for command in (serve, build, publish):
        command.add_argument("--root", type=Path, required=True, help="the sample Hub's folder")
    args = parser.parse_args(argv)
    if args.command == "serve":
        # Only here: build and publish need no web server.
        from tests.sample_hub import running

        running.serve(
            args.root, args.host, args.port, lambda url: print(f"ready {url}", flush=True), xet=args.xet
        )
        return 0
    store = SampleHubStore(args.root)
    if args.command == "build":
        print(json.dumps({"model_id": samples.MODEL_ID, "commits": samples.build(store, args.cache)}))
        return 0
    try:
        sha = samples.publish(store, args.variant)
    except LookupError as missing:
        print(f"Nothing to publish under {args.root}: {missing}", file=sys.stderr)
        return 1
    print(json.dumps({"model_id": samples.MODEL_ID, "branch": "main", "sha": sha}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
