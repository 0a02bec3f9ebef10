#!/bin/sh
# Installs the packages of some extras, pinned, below /install: `install.sh torch,onnx [further index]`.
set -eu
wanted="--requirement /wanted/base.txt"
for extra in $(echo "$1" | tr , ' '); do
    wanted="$wanted --requirement /wanted/$extra.txt"
done
# shellcheck disable=SC2086 # a list
pip install --prefix /install --ignore-installed --no-compile --constraint constraints.txt $wanted \
    ${2:+--extra-index-url "$2"}

# What no service reads: the packages' own tests, types and headers, onnxruntime's library for programs in C.
cd /install/lib/python3.*/site-packages
find . -type d -name tests -prune -exec rm -rf {} +
find . -type f \( -name '*.pyi' -o -name '*.a' \) -delete
if [ -d torch ]; then
    rm -rf torch/test torch/include
    find torch/bin -type f ! -name torch_shm_manager -delete
fi
if [ -d onnxruntime ]; then
    rm -f onnxruntime/capi/libonnxruntime.so.*
fi
if [ ! -d torch ]; then
    # what works on checkpoints, and what downloads them faster: they need torch
    rm -rf onnxruntime/transformers onnxruntime/tools onnxruntime/quantization hf_xet hf_xet-*
fi
