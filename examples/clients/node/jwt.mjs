// A JWT that is good for this request alone.
import { createHash, randomUUID } from 'node:crypto';
import { SignJWT } from 'jose';
import { signingKey } from './key.mjs';

export async function sign(credential, { method, url, headers, body }) {
  const { alg, key } = await signingKey(credential);
  const token = await new SignJWT({
    method,
    uri: url.pathname + url.search,
    body_sha256: createHash('sha256').update(body ?? '').digest('hex'),
  })
    .setProtectedHeader({ alg, kid: credential.id })
    .setIssuedAt()
    .setExpirationTime('2 minutes')
    .setJti(randomUUID())
    .setAudience(process.env.AUDIENCE)
    .sign(key);
  return { method, url, headers: { ...headers, authorization: `Bearer ${token}` }, body };
}
