"""HTTP: each file parses one caller's requests, calls one function, encodes the answer."""
