#!/bin/sh
# Predicts every plan of DOSEWRIGHT_DATA (/data) into DOSEWRIGHT_RESULTS (/results); further arguments are passed on.
# The weights are DOSEWRIGHT_WEIGHTS, else what the image was built with, else those that ship with the package.
set -eu
if [ -z "${DOSEWRIGHT_WEIGHTS:-}" ]; then
    for file in /app/weights/*.safetensors; do
        if [ -f "$file" ]; then DOSEWRIGHT_WEIGHTS=$file; fi
    done
fi
export DOSEWRIGHT_WEIGHTS="${DOSEWRIGHT_WEIGHTS:-}"
exec "${PYTHON:-python}" -m dosewright.submission.gdp_hmm_entry "$@"
