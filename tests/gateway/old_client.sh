#!/usr/bin/env bash
# Makes the environment of the older clients in the folder $1, once, with the Python $2 (of an environment that has torch):
# transformers 4.57 and huggingface_hub 0.36 cannot live beside today's. torch is not fetched a second time: it is looked up in
# the environment of $2, behind everything that is installed here.
set -euo pipefail
folder=$1
python=${2:-python3.11}
pins=(transformers==4.57.6 huggingface_hub==0.36.2)
stamp="$folder/made-of"
borrowed=$("$python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
made_of="${pins[*]} torch of $borrowed"
# Two test processes may come at once: one makes it, the other waits.
mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
flock 9
if [ "$(cat "$stamp" 2>/dev/null || true)" = "$made_of" ]; then
    exit 0
fi
# pip checks that what it compiled is there, which it never is where Python may not write compiled files.
unset PYTHONDONTWRITEBYTECODE
rm -rf "$folder"
"$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check "${pins[@]}"
echo "$borrowed" >"$folder/lib/python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')/site-packages/zz-borrowed.pth"
"$folder/bin/python" -c 'import torch, transformers, huggingface_hub'
echo "$made_of" >"$stamp"
