#!/usr/bin/env bash
# Django with django-anymail's Mailgun backend: a web application that sends through EmailMessage and knows nothing of TLS
# except by `esp_extra`. Its base URL is the one setting that is changed. Anymail reads our answers closely: it wants
# `Queued`, an id with its brackets, and "Domain not found" where a domain is unknown.
. "$(dirname "$0")/../lib.sh"

client_scene
python_client "$interop/12-django-anymail/check.py"
