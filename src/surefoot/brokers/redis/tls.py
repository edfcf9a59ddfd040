"""What went wrong with TLS, in words that say what to do about it. Opens nothing and reads no file."""

import ssl
from collections.abc import Sequence
from typing import Final

_OWN_CA: Final = frozenset({18, 19, 20, 21})
"""OpenSSL's numbers for a certificate whose signer is not known or not trusted."""
_NOT_YET, _EXPIRED = 9, 10
_OTHER_NAME: Final = frozenset({62, 64})

_ALERTS: Final = {
    "CERTIFICATE_REQUIRED": "the server asks for a client certificate: give ssl_certfile= and ssl_keyfile=",
    "HANDSHAKE_FAILURE": "the server refuses the handshake; it may ask for a client certificate, or know other ciphers",
    "UNKNOWN_CA": "the server knows nobody who signed the client certificate (ssl_certfile=): use one of its CA",
    "CERTIFICATE_EXPIRED": "the client certificate (ssl_certfile=) has expired: renew it",
    "BAD_CERTIFICATE": "the server does not accept the client certificate (ssl_certfile=)",
    "CERTIFICATE_UNKNOWN": "the server does not accept the client certificate (ssl_certfile=)",
    "UNSUPPORTED_CERTIFICATE": "the server does not accept this kind of client certificate (ssl_certfile=)",
    "CERTIFICATE_REVOKED": "the client certificate (ssl_certfile=) was revoked: use another",
    "PROTOCOL_VERSION": "the server speaks no version of TLS that this Python does",
}
_OWN_FILES: Final = {
    "KEY_VALUES_MISMATCH": "ssl_keyfile= is not the key of ssl_certfile=",
    "NO_CERTIFICATE_OR_CRL_FOUND": "there is no certificate in ssl_ca_certs=",
    "NO_START_LINE": "ssl_certfile=, ssl_keyfile= or ssl_ca_certs= is not in the PEM format",
    "PEM_LIB": "ssl_certfile= and ssl_keyfile= do not hold a certificate and its key",
}


def trouble(host: str, files: Sequence[tuple[str, str]], error: ssl.SSLError) -> str:
    """Why TLS failed with a server that is called `host`, with these files of ours."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _distrust(host, files, error)
    if isinstance(error, ssl.SSLEOFError):
        return "the server closed the connection"
    told = (error.reason or "").upper()
    if told in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return "the server does not speak TLS on this port"
    for end, words in _ALERTS.items():
        if "ALERT" in told and told.endswith(end):
            return words
    return _OWN_FILES.get(told) or f"TLS failed: {(error.reason or str(error)).lower().replace('_', ' ')}"


def _distrust(host: str, files: Sequence[tuple[str, str]], error: ssl.SSLCertVerificationError) -> str:
    match error.verify_code:
        case code if code in _OWN_CA:
            given = dict(files).get("ssl_ca_certs")
            way = "name its CA with ssl_ca_certs=" if given is None else f"ssl_ca_certs={given} is not its CA"
            return f"its TLS certificate is signed by nobody known here: {way}"
        case code if code == _EXPIRED:
            return "its TLS certificate has expired: renew it on the server"
        case code if code == _NOT_YET:
            return "its TLS certificate is not yet valid: look at the clocks of both machines"
        case code if code in _OTHER_NAME:
            return f"its TLS certificate is not for '{host}': use a name that stands in it"
    return f"its TLS certificate is not accepted: {error.verify_message.rstrip('.')}"


def perhaps_refused(files: Sequence[tuple[str, str]]) -> str:
    """What may be behind a connection that a server closes right after the handshake; it need not say why."""
    if "ssl_certfile" in dict(files):
        return "; perhaps it does not accept the client certificate"
    return "; perhaps it asks for a client certificate (ssl_certfile= and ssl_keyfile=)"
