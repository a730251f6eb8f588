"""A model in Hugging Face layout, read without loading it: configuration, tensors, tokenizer.

The coordinator checks a folder with this before any pod with a GPU exists, the trainer before it
loads. Nothing here imports torch or safetensors: headers of weight files are JSON.
"""
