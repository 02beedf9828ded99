// The two sorts of key, as jose takes them.
import { webcrypto } from 'node:crypto';
import { importPKCS8 } from 'jose';

globalThis.crypto ??= webcrypto; // Node 18, which Debian 12 has, does not show it

export async function signingKey({ privateKey, secret }) {
  if (privateKey) {
    return { alg: 'ES256', key: await importPKCS8(privateKey, 'ES256') };
  }
  // The text of the secret is the key: it is not decoded.
  return { alg: 'HS256', key: new TextEncoder().encode(secret) };
}
