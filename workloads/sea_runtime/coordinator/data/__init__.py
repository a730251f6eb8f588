"""The job's data: files read from S3, rows checked one by one, prompts drawn in a fixed order."""
