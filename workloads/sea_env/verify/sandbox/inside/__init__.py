"""What runs in the sandbox: the standard library only, imported as `inside` from a bound folder."""
