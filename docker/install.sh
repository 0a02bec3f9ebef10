#!/bin/sh
# Installs the pinned dependencies of extras into /install: `install.sh torch,onnx [extra package index]`.
set -eu
requirements="--requirement /requirements/base.txt"
for extra in $(echo "$1" | tr , ' '); do
    requirements="$requirements --requirement /requirements/$extra.txt"
done
# shellcheck disable=SC2086 # a list
pip install --prefix /install --ignore-installed --no-compile --constraint constraints.txt $requirements \
    ${2:+--extra-index-url "$2"}

# Remove files that a service never reads: tests, type stubs, headers, onnxruntime's C library.
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
    # converters of checkpoints and the fast downloader: only used with torch
    rm -rf onnxruntime/transformers onnxruntime/tools onnxruntime/quantization hf_xet hf_xet-*
fi
