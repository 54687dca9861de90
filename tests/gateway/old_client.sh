#!/usr/bin/env bash
# Makes the environment of the older clients in the folder $1, once: transformers 4.57 and huggingface_hub 0.36 cannot live
# beside today's. Takes minutes and two gigabytes the first time. The torch of the product is pinned: pip would take another.
set -euo pipefail
folder=$1
python=${2:-python3.11}
pins=(torch==2.13.0 transformers==4.57.6 huggingface_hub==0.36.2)
stamp="$folder/made-of"
if [ "$(cat "$stamp" 2>/dev/null || true)" = "${pins[*]}" ]; then
    exit 0
fi
rm -rf "$folder"
"$python" -m venv "$folder"
"$folder/bin/python" -m pip install --quiet "${pins[@]}"
echo "${pins[*]}" >"$stamp"
