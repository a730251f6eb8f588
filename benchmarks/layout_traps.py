def measure(*args):
    return {}
