// The two sorts of key, as jose takes them.
import { importPKCS8 } from 'jose';

export async function signingKey({ privateKey, secret }) {
  if (privateKey) {
    return { alg: 'ES256', key: await importPKCS8(privateKey, 'ES256') };
  }
  // The text of the secret is the key: it is not decoded.
  return { alg: 'HS256', key: new TextEncoder().encode(secret) };
}
