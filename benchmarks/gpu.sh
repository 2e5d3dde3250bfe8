#!/usr/bin/env bash
# Everything that is measured on a GPU, in one go: laws first, then figures. Needs one NVIDIA GPU with 20 GB or more,
# Python 3.11 or newer with torch (CUDA), and what pyproject.toml lists; no network, no weights.
#
#     OUT=results benchmarks/gpu.sh
#
# Writes to $OUT (default: gpu-results): tests.txt, figures.txt, figures.json.
set -uo pipefail
failed=0
cd "$(dirname "$0")/.."
OUT="${OUT:-gpu-results}"
PYTHON="${PYTHON:-python3}"
mkdir -p "$OUT"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
"$PYTHON" -m pytest -q -p no:cacheprovider tests/test_executor_gpu.py tests/test_executor_verify_coins.py 2>&1 | tee "$OUT/tests.txt" || failed=1
"$PYTHON" -m benchmarks.gpu --json "$OUT/figures.json" 2>&1 | tee "$OUT/figures.txt" || failed=1
exit "$failed"
