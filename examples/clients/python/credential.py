"""What both Python clients have in common: reading a credential, describing and
sending a request. Nothing but the standard library."""

import hashlib
import os
import re
import sys
import time
import urllib.error
import urllib.request
import uuid
from urllib.parse import urljoin, urlsplit


def read():
    """Returns the algorithm, the token's ID, and the key as bytes: a PEM text, or the
    text of a secret, which is not decoded."""
    path = os.environ.get("TOKEN_FILE")
    if not path:
        with open(os.environ["PRIVATE_KEY"], "rb") as file:
            return "ES256", os.environ["TOKEN_ID"], file.read()
    with open(path, encoding="utf-8") as file:
        text = file.read()
    fields = dict(re.findall(r"^(Token ID|Secret Key): (\S+)", text, re.MULTILINE))
    return "HS256", fields["Token ID"], fields["Secret Key"].encode()


def tunnel_header(algorithm, token, method, target):
    """The header of a JWS that is a request."""
    url = urlsplit(target)
    return {
        "alg": algorithm,
        "kid": token,
        "method": method,
        "content-type": "application/json",
        "uri": url.path,
        "query-string": url.query,
        "issuedAt": time.time_ns() // 1_000_000,
    }


def tunnel_payload(body):
    """The service takes the bytes of the body as they stand there."""
    return b'{"data":' + body + b"}" if body else b"{}"


def bound_claims(method, target, body):
    """The claims of a JWT that is good for one request."""
    now = int(time.time())
    return {
        "iat": now,
        "exp": now + 120,
        "jti": str(uuid.uuid4()),
        "aud": os.environ["AUDIENCE"],
        "method": method,
        "uri": target,
        "body_sha256": hashlib.sha256(body).hexdigest(),
    }


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """A signed request is good for one use and one target."""

    def redirect_request(self, *_):
        return None


def run(sign_tunnel, sign_bound):
    """Sends one request and prints the answer. sign_tunnel and sign_bound return a
    compact JWS or JWT as text, for (algorithm, token, key, method, target, body)."""
    if len(sys.argv) not in (4, 5) or sys.argv[1] not in ("jws", "jwt"):
        sys.exit(f"usage: {sys.argv[0]} jws|jwt METHOD TARGET [JSON]")
    scheme, method, target = sys.argv[1:4]
    body = sys.argv[4].encode() if len(sys.argv) == 5 else b""
    sign = sign_tunnel if scheme == "jws" else sign_bound
    signed = sign(*read(), method, target, body)
    if scheme == "jws":
        method, target = "POST", os.environ.get("TUNNEL", "/jws/validate")
        headers, body = {"Content-Type": "application/jose"}, signed.encode()
    else:
        headers = {"Authorization": "Bearer " + signed}
        if body:
            headers["Content-Type"] = "application/json"
    request = urllib.request.Request(urljoin(os.environ["SERVER"], target), body or None, headers, method=method)
    try:
        with urllib.request.build_opener(NoRedirects).open(request, timeout=30) as answer:
            print(answer.read().decode())
    except urllib.error.HTTPError as refused:
        print(refused.read().decode())
        sys.exit(f"the server answered {refused.code}")
