"""Runs MiniStack; with ISOBAR_COPY_CONDITIONS=1 its CopyObject also honours If-Match and If-None-Match on the
destination, as Amazon S3 does since October 2025 and MiniStack 1.5.33 does not."""

import os

from ministack import app

if os.environ.get("ISOBAR_COPY_CONDITIONS") == "1":
    from ministack.services import s3

    copy_object = s3._copy_object

    def conditional_copy(bucket_name, dest_key, headers):
        # One thread runs all requests, and nothing here waits: check and copy are one step.
        bucket = s3._ensure_bucket(bucket_name)
        existing = None if bucket is None else bucket["objects"].get(dest_key)
        return s3._check_put_preconditions(headers, existing) or copy_object(bucket_name, dest_key, headers)

    s3._copy_object = conditional_copy

app.main()
