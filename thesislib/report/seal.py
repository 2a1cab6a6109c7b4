"""TEMPORARY until thesislib.runs lands."""

import hashlib
import json


def seal_of(record):
    body = {k: v for k, v in record.items() if k != "seal"}
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def is_sealed(record):
    return record.get("status") == "sealed" and record.get("seal") == seal_of(record)
