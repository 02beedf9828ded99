"""Signs with Authlib: python3 with_authlib.py jws|jwt METHOD TARGET [JSON]"""

from authlib.jose import JsonWebSignature, JsonWebToken

import credential


def tunnel(algorithm, token, key, method, target, body):
    header = credential.tunnel_header(algorithm, token, method, target)
    # Authlib refuses members of the header that it does not know, unless told of them.
    jws = JsonWebSignature([algorithm], private_headers=list(header))
    return jws.serialize_compact(header, credential.tunnel_payload(body), key).decode()


def bound(algorithm, token, key, method, target, body):
    claims = credential.bound_claims(method, target, body)
    return JsonWebToken([algorithm]).encode({"alg": algorithm, "kid": token}, claims, key).decode()


if __name__ == "__main__":
    credential.run(tunnel, bound)
