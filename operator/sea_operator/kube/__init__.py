"""The few verbs that the operator speaks to the API server, over the asynchronous client."""
