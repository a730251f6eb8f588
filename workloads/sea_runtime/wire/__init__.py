"""Messages between the pods of one job: every pod talks to the coordinator, over HTTP."""
