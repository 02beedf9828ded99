// Makes interop.json: requests signed by the npm package http-message-signatures,
// with a key made anew each time, for TestInterop.
//
//   npm install http-message-signatures@1.0.6
//   node interop.mjs > interop.json
import { createHash, generateKeyPairSync } from 'node:crypto';
import { createSigner, httpbis } from 'http-message-signatures';

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
const created = new Date('2027-03-01T12:00:00Z');
const body = '{"hello": "world"}';
const digest = 'sha-512=:' + createHash('sha512').update(body).digest('base64') + ':';
const withBody = { 'Content-Type': 'application/json; charset="utf-8"', 'Content-Digest': digest };

const cases = [
  { name: 'target URI', method: 'GET', url: '/a%2Fb//c?x=1&x=2&y', fields: ['@method', '@target-uri'], headers: {} },
  { name: 'path and query', method: 'GET', url: '/a/?q=%20', fields: ['@method', '@authority', '@path', '@query', '@scheme'], headers: {} },
  { name: 'no query', method: 'DELETE', url: '/a', fields: ['@authority', '@path', '@query', '@method'], headers: {} },
  { name: 'body', method: 'POST', url: '/', fields: ['@method', '@target-uri', 'content-digest', 'content-type'], headers: withBody, body },
  {
    name: 'lines of a field', method: 'POST', url: '/', body,
    fields: ['@method', '@target-uri', 'content-digest', 'content-type', 'x-list', 'x-empty'],
    headers: { ...withBody, 'X-List': ['  one ', 'two, three'], 'X-Empty': '' },
  },
];

const requests = [];
for (const c of cases) {
  // It takes @target-uri as it is given, and normalises @authority.
  const origin = c.fields.includes('@authority') ? 'https://API.example.com:443' : 'https://api.example.com';
  const signed = await httpbis.signMessage({
    key: createSigner(privateKey, 'ecdsa-p256-sha256', 'token'),
    name: 'api', fields: c.fields, params: ['keyid', 'alg', 'created', 'expires', 'nonce', 'tag'],
    paramValues: { created, expires: new Date(created.getTime() + 300000), nonce: 'of "' + c.name + '"', tag: 'interop\\' },
  }, { method: c.method, url: origin + c.url, headers: c.headers });
  const headers = {};
  for (const [name, value] of Object.entries(signed.headers)) headers[name] = [].concat(value);
  requests.push({ name: c.name, method: c.method, target: c.url, headers, body: c.body ?? '' });
}
const key = publicKey.export({ type: 'spki', format: 'pem' });
console.log(JSON.stringify({ publicKey: key, created, host: 'api.example.com', requests }, null, 2));
