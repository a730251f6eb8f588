"""Asking a local component for its health over HTTP(S), never through a proxy."""

import ssl
import urllib.request


def get(url: str, timeout: float) -> str | None:
    """Body of a 200 answer, None for anything else.

    Certificates are not checked: components sign their own for these ports, and all that is asked
    of them is whether they are well.
    """
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=tls)
    )
    try:
        with opener.open(url, timeout=timeout) as response:
            return str(response.read().decode()) if response.status == 200 else None
    except OSError:  # includes urllib's URLError and time-outs
        return None


def answers(url: str) -> bool:
    """Whether a health URL says 200 within two seconds."""
    return get(url, timeout=2.0) is not None
