"""The backend of model agents behind an OpenAI-compatible endpoint.

`model_client` asks the model, one file per role writes its prompts and reads its replies, and
`backend` puts them together. Models propose; what can be executed is executed.
"""
