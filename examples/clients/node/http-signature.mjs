// HTTP Message Signatures (RFC 9421), with the body bound by Content-Digest (RFC 9530).
import { createHash, randomUUID } from 'node:crypto';
import { createSigner, httpbis } from 'http-message-signatures';

export async function sign({ id, privateKey, secret }, request) {
  const key = privateKey
    ? createSigner(privateKey, 'ecdsa-p256-sha256', id)
    : createSigner(secret, 'hmac-sha256', id); // the text of the secret is the key
  const fields = ['@method', '@target-uri'];
  const headers = { ...request.headers };
  if (request.body !== undefined) {
    headers['content-digest'] = `sha-256=:${createHash('sha256').update(request.body).digest('base64')}:`;
    fields.push('content-digest', 'content-type');
  }
  return httpbis.signMessage({
    key,
    fields,
    params: ['created', 'keyid', 'alg', 'nonce'],
    paramValues: { nonce: randomUUID() },
  }, { ...request, headers });
}
