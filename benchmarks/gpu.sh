#!/usr/bin/env bash
# Everything that is measured on a GPU, in one go: laws first, then figures, then calibrations. Needs one NVIDIA GPU
# with 20 GB or more, Python 3.11 or newer with torch (CUDA), and what pyproject.toml lists; no network, no weights.
#
#     OUT=results benchmarks/gpu.sh [tests] [figures] [calibrations] [training]      all without a name
#
# Writes to $OUT (default: gpu-results): tests.txt, figures.txt, figures.json; for both sizes and both launch modes a
# profile (.yaml) and a report (.md), with eight such GPUs simulated at its end; training.txt and .json, what training
# draft modules costs.
set -uo pipefail
failed=0
cd "$(dirname "$0")/.."
OUT="${OUT:-gpu-results}"
PYTHON="${PYTHON:-python3}"
PARTS="${*:-tests figures calibrations training}"
mkdir -p "$OUT"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"

if [[ " $PARTS " == *" tests "* ]]; then
    "$PYTHON" -m pytest -q -p no:cacheprovider tests/test_executor_gpu.py tests/test_executor_probing_gpu.py \
        tests/test_executor_verify_coins.py 2>&1 | tee "$OUT/tests.txt" || failed=1
fi
if [[ " $PARTS " == *" figures "* ]]; then
    "$PYTHON" -m benchmarks.gpu --json "$OUT/figures.json" 2>&1 | tee "$OUT/figures.txt" || failed=1
fi
if [[ " $PARTS " == *" calibrations "* ]]; then
    for model in llama-3.1-8b qwen3-4b; do
        for launch in cuda_graph eager; do
            name="$model-$launch"
            "$PYTHON" -m spdsim calibrate --model "$model" --random-weights --device cuda --backend local \
                --dtype bfloat16 --launch "$launch" --stages 2,4 --predict-stages 3,8 --prompt-tokens 128 --rounds 2 \
                --out "$OUT/$name.yaml" --report "$OUT/$name.md" --quiet --tolerance 0.05 || failed=1
            # Eight of this GPU, with the catalogue's links: what is measured and what is not stands at the end.
            if [[ -f "$OUT/$name.yaml" ]]; then
                {
                    printf '\n## Eight of this GPU, simulated with this profile and the links of an H100 node\n\n```\n'
                    "$PYTHON" -m spdsim simulate scenarios/h100x8.yaml --profile "$OUT/$name.yaml" \
                        --set model="$model" --set runtime.launch="$launch" --no-timeline 2>&1 || failed=1
                    printf '```\n'
                } >> "$OUT/$name.md"
            fi
        done
    done
fi
if [[ " $PARTS " == *" training "* ]]; then
    "$PYTHON" -m benchmarks.training --device cuda --model qwen3-4b --json "$OUT/training.json" 2>&1 |
        tee "$OUT/training.txt" || failed=1
fi
exit "$failed"
