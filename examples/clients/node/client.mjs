// Sends one signed request and prints the answer. Ends with an error unless it is a
// success.
//
//   node client.mjs jws|jwt|http-signature METHOD TARGET [JSON]
//
// From the environment: SERVER; TOKEN_FILE, or TOKEN_ID and PRIVATE_KEY; AUDIENCE for
// jwt; TUNNEL for jws. See the README beside this folder.
import { readFile } from 'node:fs/promises';
import * as jws from './jws.mjs';
import * as jwt from './jwt.mjs';
import * as httpSignature from './http-signature.mjs';

const schemes = { jws, jwt, 'http-signature': httpSignature };

// readCredential returns the token's ID and its key, a PEM text or a secret.
async function readCredential({ TOKEN_FILE, TOKEN_ID, PRIVATE_KEY }) {
  if (!TOKEN_FILE) {
    return { id: TOKEN_ID, privateKey: await readFile(PRIVATE_KEY, 'utf8') };
  }
  const text = await readFile(TOKEN_FILE, 'utf8');
  const field = (label) => text.match(new RegExp(`^${label}: (\\S+)`, 'm'))[1];
  return { id: field('Token ID'), secret: field('Secret Key') };
}

const [scheme, method, target, body] = process.argv.slice(2);
if (!schemes[scheme] || !target) {
  console.error(`usage: node client.mjs ${Object.keys(schemes).join('|')} METHOD TARGET [JSON]`);
  process.exit(2);
}
const credential = await readCredential(process.env);
const request = await schemes[scheme].sign(credential, {
  method,
  url: new URL(target, process.env.SERVER),
  headers: body === undefined ? {} : { 'content-type': 'application/json' },
  body,
});
// A signed request is good for one use: sign again instead of sending it again, also
// to where a redirect leads.
const answer = await fetch(request.url, { ...request, redirect: 'error' });
console.log(await answer.text());
if (!answer.ok) {
  console.error(`the server answered ${answer.status}`);
  process.exit(1);
}
