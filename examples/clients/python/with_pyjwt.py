"""Signs with PyJWT: python3 with_pyjwt.py jws|jwt METHOD TARGET [JSON]"""

import jwt
import credential


def tunnel(algorithm, token, key, method, target, body):
    header = credential.tunnel_header(algorithm, token, method, target)
    # jwt.encode takes claims only; what signs any bytes is behind it.
    return jwt.PyJWS().encode(credential.tunnel_payload(body), key, algorithm, header)


def bound(algorithm, token, key, method, target, body):
    return jwt.encode(credential.bound_claims(method, target, body), key, algorithm, {"kid": token})


if __name__ == "__main__":
    credential.run(tunnel, bound)
