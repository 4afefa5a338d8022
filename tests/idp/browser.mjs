// A browser in front of the authorization server, and the application that it came from: logs an account in by the
// authorization code flow, and out again. There is no page to click at: whoever comes is whom `login_hint` names.

import { createHash, randomBytes } from 'node:crypto';

const REDIRECT_URI = 'https://app.test/callback';
const MAX_HOPS = 10;

/** What the server needs, so that a log-in asks nobody. */
export const unattended = {
  findAccount: (_ctx, sub) => ({ accountId: sub, claims: () => ({ sub }) }),
  interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
  async loadExistingGrant(ctx) {
    const { client, session, params, provider, resourceServers } = ctx.oidc;
    const grantId = session.grantIdFor(client.clientId);
    if (grantId) return provider.Grant.find(grantId);
    const grant = new provider.Grant({ clientId: client.clientId, accountId: session.accountId });
    grant.addOIDCScope(params.scope);
    for (const identifier of Object.keys(resourceServers ?? {})) {
      grant.addResourceScope(identifier, params.scope);
    }
    await grant.save();
    return grant;
  },
  // An access token says to which session it belongs.
  extraTokenClaims(ctx) {
    const sid = ctx.oidc.entities.AuthorizationCode?.sid;
    return sid ? { sid } : undefined;
  },
};

/** The page that would ask for a password. */
export function logInPage(provider) {
  return async (ctx, next) => {
    if (!ctx.path.startsWith('/interaction/')) return next();
    const { params } = await provider.interactionDetails(ctx.req, ctx.res);
    const result = { login: { accountId: params.login_hint } };
    return ctx.redirect(await provider.interactionResult(ctx.req, ctx.res, result));
  };
}

/** What a client's registration needs beyond the rest. */
export function registration(client) {
  if (!client.backchannel_logout_uri) return client;
  return {
    ...client,
    grant_types: ['authorization_code', 'client_credentials'],
    response_types: ['code'],
    redirect_uris: [REDIRECT_URI],
  };
}

/** A session of its own for each browser. */
class Browser {
  #cookies = new Map();

  async open(url, options = {}) {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const headers = { ...options.headers, cookie };
    const response = await fetch(url, { ...options, headers, redirect: 'manual' });
    for (const line of response.headers.getSetCookie()) {
      const [name, value] = line.split(';')[0].split(/=(.*)/);
      if (value) this.#cookies.set(name, value);
      else this.#cookies.delete(name);
    }
    return response;
  }

  /** Follows redirects until one leads away, and gives that back. */
  async openUntil(url, prefix) {
    for (let hop = 0; hop < MAX_HOPS; hop += 1) {
      const response = await this.open(url);
      const location = response.headers.get('location');
      if (!location) throw new Error(`${url}: ${response.status} ${await response.text()}`);
      url = new URL(location, url).href;
      if (url.startsWith(prefix)) return new URL(url);
    }
    throw new Error('too many redirects');
  }
}

const browsers = new Map();

/** Logs the account in with a fresh browser. Gives the browser's number, and the tokens. */
export async function logIn(issuer, { client_id, client_secret, account, scope, resource }) {
  const browser = new Browser();
  const verifier = randomBytes(32).toString('base64url');
  const url = `${issuer}/auth?${new URLSearchParams({
    client_id,
    response_type: 'code',
    redirect_uri: REDIRECT_URI,
    scope,
    resource,
    login_hint: account,
    code_challenge: createHash('sha256').update(verifier).digest('base64url'),
    code_challenge_method: 'S256',
  })}`;
  const callback = await browser.openUntil(url, REDIRECT_URI);
  const code = callback.searchParams.get('code');
  if (!code) throw new Error(`no code: ${callback.search}`);
  const answer = await fetch(`${issuer}/token`, {
    method: 'POST',
    headers: { authorization: `Basic ${btoa(`${client_id}:${client_secret}`)}` },
    body: new URLSearchParams({
      grant_type: 'authorization_code',
      code,
      redirect_uri: REDIRECT_URI,
      code_verifier: verifier,
      resource,
    }),
  });
  const tokens = await answer.json();
  if (!tokens.access_token) throw new Error(JSON.stringify(tokens));
  const number = browsers.size + 1;
  browsers.set(number, { browser, idToken: tokens.id_token });
  return { browser: number, access_token: tokens.access_token };
}

/** Logs out whoever is logged in with this browser. */
export async function logOut(issuer, { browser: number }) {
  const { browser, idToken } = browsers.get(number);
  const page = await browser.open(`${issuer}/session/end?id_token_hint=${idToken}`);
  const html = await page.text();
  const xsrf = /name="xsrf" value="([^"]+)"/.exec(html)?.[1];
  if (!xsrf) throw new Error(`no form to log out: ${page.status} ${html}`);
  const done = await browser.open(`${issuer}/session/end/confirm`, {
    method: 'POST',
    body: new URLSearchParams({ xsrf, logout: 'yes' }),
  });
  if (done.status >= 400) throw new Error(`not logged out: ${done.status} ${await done.text()}`);
}
