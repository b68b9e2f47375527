#!/usr/bin/env bash
# Prometheus's own client for Python reads /metrics: every family with its type and help, counters that grow with the mail
# that travels, and no label that a recipient, a domain or a tenant could fill.
. "$(dirname "$0")/../lib.sh"

client_receivers
export METRICS_PORT
METRICS_PORT=$(free_port)
start_waxwing "$sink_port" WAXWING_TRUST_ROOTS="$scratch/ca.pem" WAXWING_METRICS_LISTEN="127.0.0.1:$METRICS_PORT" \
    WAXWING_SUBMISSION_LISTEN="127.0.0.1:$(free_port)"
python_client "$interop/25-metrics/check.py"
