// The JWS tunnel: the request goes into a compact JWS, which is posted to one path.
import { CompactSign } from 'jose';
import { signingKey } from './key.mjs';

export async function sign(credential, { method, url, headers, body }) {
  const { alg, key } = await signingKey(credential);
  // {"data": <body>}: the service takes the bytes of the body as they stand there.
  const payload = body === undefined ? '{}' : `{"data":${body}}`;
  const jws = await new CompactSign(new TextEncoder().encode(payload))
    .setProtectedHeader({
      alg,
      kid: credential.id,
      method,
      'content-type': headers['content-type'] ?? 'application/json',
      uri: url.pathname,
      'query-string': url.search.slice(1),
      issuedAt: Date.now(), // milliseconds
    })
    .sign(key);
  return {
    method: 'POST',
    url: new URL(process.env.TUNNEL ?? '/jws/validate', url),
    headers: { 'content-type': 'application/jose' },
    body: jws,
  };
}
