"""Objects in S3, as every pod role uses them: time-outs, retries, conditional writes."""
