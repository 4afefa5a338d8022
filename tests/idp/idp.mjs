// A real authorization server for the tests: oidc-provider on 127.0.0.1, and beside it an admin port
// through which a test rotates keys, forgets tokens, breaks endpoints and counts calls.
//
//   node idp.mjs [--port N] [--admin-port N] [--config JSON]
//
// When both ports listen, one line of JSON goes to stdout: {"issuer", "admin", "pid"}. All else goes to
// stderr. The process ends with its stdin, so it cannot outlive the test that started it.
//
// DPoP is on for every client. A client with tls_client_certificate_bound_access_tokens has its tokens bound to the certificate
// that stands in the header x-client-certificate, as PEM in percent-encoding.
//
// Config (every field may be left out):
//   clients      [{client_id, client_secret, token_endpoint_auth_method, scope, tls_client_certificate_bound_access_tokens,
//                  backchannel_logout_uri}]: one with such a URI may also log people in
//   resources    [{identifier, audience, scope, format: "jwt" | "opaque", alg, ttl}]
//                A JWT gets `aud` = audience, else the identifier. The first resource is the default one.
//   issuer_path  "/realms/shop": the issuer URL gets this path
//   jwks_cache_control  the Cache-Control of /jwks; none without it
//   dpop_nonce   true: a DPoP proof at the token endpoint needs a nonce
//   users        {name: password}: who may use the grants `password` and, with a token of theirs, token exchange. A client needs
//                grant_types for both, and refresh_token. Refresh tokens rotate, and one that comes twice ends its family
//   refresh_grace_s  for so many seconds a refresh token that was rotated is taken once more
//   extra_keys   true, or [jwk, ...]: foreign keys to publish from the start, see POST /extra-keys
//
// Admin, JSON in and out:
//   POST /drop            forget every opaque token. (A JWT is valid by itself: only its key's end revokes it.)
//   POST /rotate          {"mode"}: "add"       a new key is published and signs, the old ones stay published
//                                   "replace"   a new key is published and signs, the old ones are gone
//                                   "same_kid"  new key material under the kid in use
//                                   "withdraw"  the keys that no longer sign are gone
//   POST /fault           {"path", "times", "delay_ms", "reset", "status", "body", "content_type",
//                         "retry_after", "lose_answer", "every"}. `path` covers what lies below it ("/" all); no `times`: until cleared. The newest
//                         fault that fits is played. A delay alone only slows the real answer down. lose_answer: the server does
//                         its work, and the connection is reset in the place of the answer. every: of N calls the last one only.
//   POST /fault/clear
//   POST /extra-keys      {"keys": true | [jwk, ...] | false}: true means keys of kinds that nobody can use
//   POST /login           {"client_id", "client_secret", "account", "scope", "resource"}: logs the account in with a fresh browser, by the
//                         authorization code flow; {"browser", "access_token"} comes back
//   POST /logout          {"browser"}: logs out there (RP-initiated), which sends logout tokens
//   GET  /counters        {"/token": 3, "/jwks": 1}: calls by path, those that met a fault included; and revoked_grants: how many
//                         families of refresh tokens were ended
//   POST /counters/reset

import { createPublicKey, generateKeyPairSync, randomBytes, randomInt } from 'node:crypto';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { exportJWK, generateKeyPair } from 'jose';
import { logIn, logInPage, logOut, registration, unattended } from './browser.mjs';
import { MapAdapter, memory, settings } from './map_adapter.mjs';

// oidc-provider sends its notices to stdout, which here belongs to the ready line alone; and what it has to
// say about the Node version is the same at each of many starts.
console.info = console.error;
const { warn } = console;
console.warn = () => {};
const { Provider, errors } = await import('oidc-provider');
console.warn = warn;

const { values: args } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    'admin-port': { type: 'string', default: '0' },
    config: { type: 'string', default: '{}' },
  },
});
const config = { clients: [], resources: [], issuer_path: '', users: {}, ...JSON.parse(args.config) };
settings.refreshGrace = config.refresh_grace_s ?? 0;

// === keys ===

const jwtAlgorithms = config.resources
  .filter(({ format }) => format !== 'opaque')
  .map(({ alg = 'RS256' }) => alg);
const algorithms = [...new Set(jwtAlgorithms.length > 0 ? jwtAlgorithms : ['RS256'])];

/** The published keys with their private halves, newest first: the first of an algorithm signs. */
let keys = await newKeys();
/** Published besides; the server has no use for them. */
let extraKeys = extraKeysOf(config.extra_keys);

async function newKeys(kidOf = (alg) => `${alg.toLowerCase()}-${randomBytes(6).toString('hex')}`) {
  return Promise.all(
    algorithms.map(async (alg) => {
      const { privateKey } = await generateKeyPair(alg, { extractable: true });
      return { ...(await exportJWK(privateKey)), alg, use: 'sig', kid: kidOf(alg) };
    }),
  );
}

function signingKid(alg) {
  return keys.find((key) => key.alg === alg).kid;
}

async function rotate(mode) {
  const inUse = keys.filter((key) => key.kid === signingKid(key.alg));
  switch (mode) {
    case 'add':
      keys = [...(await newKeys()), ...keys];
      break;
    case 'replace':
      keys = await newKeys();
      break;
    case 'same_kid':
      keys = [...(await newKeys(signingKid)), ...keys.filter((key) => !inUse.includes(key))];
      break;
    case 'withdraw':
      keys = inUse;
      break;
    default:
      throw new Error(`unknown rotation mode: ${mode}`);
  }
  handle = newProvider();
}

function extraKeysOf(wanted) {
  if (Array.isArray(wanted)) return wanted;
  if (!wanted) return [];
  const publicJwk = (type, options) =>
    generateKeyPairSync(type, options).publicKey.export({ format: 'jwk' });
  return [
    { kty: 'AKP', alg: 'ML-DSA-44', use: 'sig', kid: 'pq', pub: randomBytes(1312).toString('base64url') },
    { ...publicJwk('ec', { namedCurve: 'secp256k1' }), alg: 'ES256K', use: 'sig', kid: 'koblitz' },
    { ...publicJwk('x25519'), alg: 'ECDH-ES', use: 'enc', kid: 'agreement' },
    { kty: 'tomorrow', kid: 'tomorrow', shape: { nested: [1, 'two', null] } },
  ];
}

// === the authorization server ===

/** oidc-provider reads its keys once, so a rotation puts a new provider behind the same socket. */
let handle;
let issuer;
const nonceSecret = randomBytes(32);

function newProvider() {
  const provider = new Provider(issuer, {
    ...unattended,
    adapter: MapAdapter,
    // Its own refuses to call addresses of this machine.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    clients: config.clients.map((client) => ({
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
      // This one is for ID tokens, which are never asked for; but its default, RS256, needs an RSA key.
      id_token_signed_response_alg: algorithms[0],
      // Used where a client asks for signed answers (RFC 9701); its default is RS256, too.
      introspection_signed_response_alg: algorithms[0],
      ...registration(clientMetadata(client)),
    })),
    clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'client_secret_jwt', 'private_key_jwt', 'none'],
    enabledJWA: {
      idTokenSigningAlgValues: algorithms,
      introspectionSigningAlgValues: algorithms,
      clientAuthSigningAlgValues: ['HS256', 'RS256', 'PS256', 'ES256', 'EdDSA'],
    },
    issueRefreshToken: async () => true,
    rotateRefreshToken: true,
    features: {
      backchannelLogout: { enabled: true },
      // The nonces' secret outlives a rotation, so that only the keys change.
      dPoP: { enabled: true, nonceSecret, requireNonce: () => config.dpop_nonce === true },
      mTLS: { enabled: true, certificateBoundAccessTokens: true, getCertificate },
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      introspection: { enabled: true, allowedPolicy: () => true },
      jwtIntrospection: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => config.resources[0]?.identifier,
        getResourceServerInfo: (ctx, identifier, client) => {
          checkAuthMethod(ctx, client);
          return resourceServer(identifier);
        },
      },
      revocation: {
        enabled: true,
        allowedPolicy: (_ctx, client, token) => token.clientId === client.clientId,
      },
    },
    jwks: { keys: structuredClone(keys) },
    routes: { introspection: '/introspect', revocation: '/revoke' },
    scopes: [config.resources, config.clients].flat().flatMap(({ scope }) => scope?.split(' ') ?? []),
    ttl: {
      AccessToken: lifetime,
      ClientCredentials: lifetime,
      Grant: 1_209_600,
      RefreshToken: 1_209_600,
    },
  });
  provider.registerGrantType('password', passwordGrant(provider), ['username', 'password', 'scope', 'resource']);
  const exchanged = ['subject_token', 'subject_token_type', 'requested_token_type', 'scope', 'resource', 'audience'];
  provider.registerGrantType(TOKEN_EXCHANGE, tokenExchange(provider), exchanged);
  provider.on('server_error', (_ctx, error) => console.error(error));
  provider.on('backchannel.error', (_ctx, error) => console.error(error));
  provider.use(logInPage(provider));
  provider.on('grant.revoked', () => {
    counters.revoked_grants = (counters.revoked_grants ?? 0) + 1;
  });
  provider.use(async (ctx, next) => {
    await next();
    if (ctx.path !== '/jwks') return;
    // In front: a reader that gives up at the first key it does not know finds none at all.
    ctx.body = { keys: [...extraKeys, ...ctx.body.keys] };
    if (config.jwks_cache_control) ctx.set('Cache-Control', config.jwks_cache_control);
  });
  return provider.callback();
}

const lifetime = (_ctx, token) => token.resourceServer?.accessTokenTTL ?? 3600;

/** A public key in PEM becomes the client's key set. */
function clientMetadata({ public_key: pem, alg, ...client }) {
  if (!pem) return client;
  const jwk = createPublicKey(pem).export({ format: 'jwk' });
  return { ...client, token_endpoint_auth_signing_alg: alg, jwks: { keys: [{ ...jwk, use: 'sig', alg, kid: 'k1' }] } };
}

// === two grants that oidc-provider does not have ===

const TOKEN_EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';
const ACCESS_TOKEN = 'urn:ietf:params:oauth:token-type:access_token';

function passwordGrant(provider) {
  return async (ctx) => {
    const { username, password } = ctx.oidc.params;
    if (!username || config.users[username] !== password) throw new errors.InvalidGrant('wrong name or password');
    ctx.body = await issue(provider, ctx, username, 'password');
  };
}

/** RFC 8693: an access token of ours for another one of the same user. */
function tokenExchange(provider) {
  return async (ctx) => {
    const { subject_token: token, subject_token_type: type } = ctx.oidc.params;
    if (type !== ACCESS_TOKEN) throw new errors.InvalidRequest('this type of subject token is not known');
    const subject = await provider.AccessToken.find(token);
    if (!subject) throw new errors.InvalidGrant('the subject token is not active');
    const { refresh_token: _, ...answer } = await issue(provider, ctx, subject.accountId, 'token-exchange');
    ctx.body = { ...answer, issued_token_type: ACCESS_TOKEN };
  };
}

async function issue(provider, ctx, accountId, gty) {
  const { client, params } = ctx.oidc;
  const identifier = params.resource ?? config.resources[0]?.identifier;
  const scope = params.scope ?? client.scope;
  const info = resourceServer(identifier);
  checkAuthMethod(ctx, client);
  const grant = new provider.Grant({ accountId, clientId: client.clientId });
  for (const resource of config.resources) grant.addResourceScope(resource.identifier, resource.scope ?? '');
  const grantId = await grant.save();
  const access = new provider.AccessToken({ accountId, client, grantId, gty });
  access.resourceServer = new provider.ResourceServer(identifier, info);
  access.scope = grant.getResourceScopeFiltered(identifier, scope?.split(' ') ?? []);
  const resource = config.resources.map((known) => known.identifier);
  const refresh = new provider.RefreshToken({ accountId, client, grantId, gty, scope, resource, rotations: 0 });
  const access_token = await access.save();
  const { expiration: expires_in, tokenType: token_type } = access;
  return { access_token, expires_in, token_type, scope: access.scope, refresh_token: await refresh.save() };
}

function resourceServer(identifier) {
  const found = config.resources.find((resource) => resource.identifier === identifier);
  if (!found) throw new errors.InvalidTarget();
  const { audience, scope = '', format = 'jwt', alg = 'RS256', ttl } = found;
  const common = { audience, scope, accessTokenTTL: ttl, accessTokenFormat: format };
  return format === 'opaque' ? common : { ...common, jwt: { sign: { alg, kid: signingKid(alg) } } };
}

/** oidc-provider takes a secret from the header and from the form alike; stricter servers do not. */
function checkAuthMethod(ctx, client) {
  // Where people are sent to log in, no client shows a secret.
  if (ctx.oidc.route !== 'token') return;
  const { client_assertion, client_secret } = ctx.oidc.body ?? {};
  const inForm = client_secret ? ['client_secret_post'] : ['none'];
  const signed = ['private_key_jwt', 'client_secret_jwt'];
  const used = ctx.headers.authorization ? ['client_secret_basic'] : client_assertion ? signed : inForm;
  if (!used.includes(client.clientAuthMethod)) {
    throw new errors.InvalidClientAuth(`${used} instead of ${client.clientAuthMethod}`);
  }
}

/** The client's certificate as the proxy that ends TLS would hand it on: PEM, percent-encoded. */
function getCertificate(ctx) {
  const pem = ctx.get('x-client-certificate');
  return pem ? decodeURIComponent(pem) : undefined;
}

/** The path inside the issuer: `/realms/shop/token`, RFC 8414's `/.well-known/x/realms/shop` lose the realm. */
function inner(url) {
  const prefix = config.issuer_path;
  const wellKnown = /^\/\.well-known\/[^/]+/.exec(url)?.[0];
  if (wellKnown && url === wellKnown + prefix) return wellKnown;
  return url.startsWith(`${prefix}/`) ? url.slice(prefix.length) : undefined;
}

async function serve(req, res) {
  const url = inner(req.url);
  if (url === undefined) return res.writeHead(404).end();
  const path = url.split('?')[0];
  counters[path] = (counters[path] ?? 0) + 1;
  const fault = takeFault(path);
  if (fault?.delay_ms) await sleep(fault.delay_ms);
  if (fault?.reset) return req.socket.resetAndDestroy();
  if (fault?.lose_answer) {
    res.write = () => true;
    res.end = () => {
      req.socket.resetAndDestroy();
      return res;
    };
  }
  if (fault?.status || fault?.body !== undefined) {
    const headers = { 'content-type': fault.content_type ?? 'application/json' };
    if (fault.retry_after !== undefined) headers['retry-after'] = fault.retry_after;
    return res.writeHead(fault.status ?? 200, headers).end(fault.body ?? '');
  }
  // oidc-provider takes its mount path from the difference of the two.
  req.originalUrl = config.issuer_path + url;
  req.url = url;
  return handle(req, res);
}

// === faults and counters ===

let faults = [];
let counters = {};

function takeFault(path) {
  const fault = faults.find((f) => f.path === '/' || path === f.path || path.startsWith(`${f.path}/`));
  if (fault?.every !== undefined) {
    fault.calls = (fault.calls ?? 0) + 1;
    if (fault.calls % fault.every !== 0) return undefined;
  }
  if (fault?.times !== undefined) {
    fault.times -= 1;
    if (fault.times <= 0) faults = faults.filter((f) => f !== fault);
  }
  return fault;
}

// === the admin port ===

const commands = {
  'POST /drop': () => memory.clear(),
  'POST /rotate': ({ mode }) => rotate(mode),
  'POST /fault': (fault) => {
    if (!fault.path?.startsWith('/')) throw new Error('a fault needs a path');
    if (fault.times !== 0) faults.unshift(fault);
  },
  'POST /fault/clear': () => {
    faults = [];
  },
  'POST /extra-keys': ({ keys: wanted }) => {
    extraKeys = extraKeysOf(wanted);
  },
  'POST /login': (person) => logIn(issuer, person),
  'POST /logout': (person) => logOut(issuer, person),
  'GET /counters': () => counters,
  'POST /counters/reset': () => {
    counters = {};
  },
};

async function administer(req, res) {
  const reply = (status, body) =>
    res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
  const command = commands[`${req.method} ${req.url}`];
  if (!command) return reply(404, { error: `no such command: ${req.method} ${req.url}` });
  try {
    const body = (await req.toArray()).join('');
    return reply(200, (await command(JSON.parse(body || '{}'))) ?? {});
  } catch (error) {
    return reply(400, { error: error.message });
  }
}

// === start and end ===

async function listen(handler, port) {
  const server = createServer((req, res) => {
    handler(req, res).catch((error) => {
      console.error(error);
      res.destroy();
    });
  });
  // Node closes an idle connection after 5 s, at times just when a client sends on it: no test wants that.
  server.keepAliveTimeout = 0;
  for (let tries = 0; ; tries += 1) {
    // A free port is looked for below the range that systems hand out by themselves. Else somebody's outgoing
    // connection could sit on it between the end of this server and its restart.
    const wanted = port || randomInt(20_000, 32_000);
    try {
      await new Promise((resolve, reject) => {
        server.once('error', reject).listen(wanted, '127.0.0.1', resolve);
      });
      return `http://127.0.0.1:${wanted}`;
    } catch (error) {
      if (port || error.code !== 'EADDRINUSE' || tries === 100) throw error;
    }
  }
}

const exit = () => process.exit(0);
process.on('SIGTERM', exit);
process.stdin.on('end', exit).on('close', exit).resume();

// The issuer's URL holds its port, so the port comes first. No call can come between it and the provider: the
// event loop does not turn before `newProvider` is done.
issuer = (await listen(serve, Number(args.port))) + config.issuer_path;
handle = newProvider();
const admin = await listen(administer, Number(args['admin-port']));
process.stdout.write(`${JSON.stringify({ issuer, admin, pid: process.pid })}\n`);
