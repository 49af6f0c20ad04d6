/*
 * OpenID providers, all of them npm's oidc-provider, each with habits of its own:
 *
 *   basic      takes client_secret_basic alone, no PKCE, keeps its refresh tokens, signs with RS256
 *   pkce       demands PKCE, rotates refresh tokens with every use, takes public clients, signs with ES256
 *   form_post  answers at the callback by POST alone
 *   pushed     takes authorization requests that were pushed, and no others
 *   key        takes private_key_jwt alone, with the issuer as audience
 *   shared     takes client_secret_jwt alone
 *   bound      takes private_key_jwt alone, binds tokens to keys (DPoP), and wants a nonce of its own in every proof
 *
 * Usage: node oidc_provider.mjs FILE; their origins are written to FILE, as JSON, as soon as all of them listen.
 *
 * Clients are registered by RFC 7591, and changed by RFC 7592. The end user is asked on a page with two links. An access
 * token with the scope `short` lives for a second. GET /seen tells what came to the token endpoint, and what left it.
 */
import { randomBytes, generateKeyPairSync } from 'node:crypto';
import { rename, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { once } from 'node:events';

import Provider, { errors } from 'oidc-provider';

const ACCOUNT = 'paul-atreides';

const HABITS = {
  basic: {
    clientAuthMethods: ['client_secret_basic'],
    pkce: { required: () => false },
    rotateRefreshToken: false,
  },
  pkce: {
    clientAuthMethods: ['client_secret_post', 'none'],
    pkce: { required: () => true },
    rotateRefreshToken: true,
  },
  form_post: {
    clientAuthMethods: ['client_secret_post'],
    pkce: { required: () => true },
    rotateRefreshToken: false,
  },
  pushed: {
    clientAuthMethods: ['client_secret_basic'],
    pkce: { required: () => true },
    rotateRefreshToken: false,
    features: { pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: true } },
  },
  key: {
    clientAuthMethods: ['private_key_jwt'],
    pkce: { required: () => true },
    rotateRefreshToken: false,
    assertJwtClientAuthClaimsAndHeader,
  },
  shared: {
    clientAuthMethods: ['client_secret_jwt'],
    pkce: { required: () => true },
    rotateRefreshToken: false,
  },
  bound: {
    clientAuthMethods: ['private_key_jwt'],
    pkce: { required: () => true },
    rotateRefreshToken: true,
    features: { dPoP: { enabled: true, nonceSecret: randomBytes(32), requireNonce: () => true } },
  },
};

/** Whoever is to be the only one that can use an assertion has to be its only audience (RFC 7523, 3). */
function assertJwtClientAuthClaimsAndHeader(ctx, claims) {
  if (claims.aud !== ctx.oidc.issuer) throw new errors.InvalidClientAuth('aud must be the issuer, and nobody else');
}

function signingKey(type, options, alg) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), alg, use: 'sig' };
}

function configuration(habits) {
  return {
    ...habits,
    scopes: ['openid', 'offline_access', 'email', 'short'],
    claims: { openid: ['sub'], email: ['email', 'email_verified'] },
    clockTolerance: 0,
    conformIdTokenClaims: false, // the id_token too holds what the scopes ask for
    jwks: {
      keys: [signingKey('rsa', { modulusLength: 2048 }, 'RS256'), signingKey('ec', { namedCurve: 'P-256' }, 'ES256')],
    },
    cookies: { keys: [randomBytes(16).toString('hex')] },
    features: {
      ...habits.features,
      devInteractions: { enabled: false },
      revocation: { enabled: true, allowedPolicy: (ctx, client, token) => token.clientId === client.clientId },
      registration: { enabled: true, secretFactory: () => `:/+% ${randomBytes(24).toString('base64url')}` },
      registrationManagement: { enabled: true, rotateRegistrationAccessToken: false },
    },
    ttl: {
      AccessToken: (ctx, token) => (token.scope?.split(' ').includes('short') ? 1 : 3600),
      Grant: 3600,
      IdToken: 3600,
      Interaction: 600,
      RefreshToken: 3600,
      Session: 3600,
    },
    findAccount: (ctx, sub) => ({
      accountId: sub,
      claims: () => ({ sub, email: `${sub}@arrakis.example`, email_verified: true }),
    }),
    renderError: (ctx, out) => {
      ctx.type = 'json';
      ctx.body = out;
    },
  };
}

/** What the end user sees, instead of a sign-in form and a consent form: the two links, which lead to `answer`. */
function question(path) {
  const link = (outcome) => `<a id="${outcome}" href="${path}?outcome=${outcome}">${outcome}</a>`;
  return `<!doctype html><html lang="en"><head><title>Arrakis</title><link rel="icon" href="data:,"></head>
<body><h1>May they?</h1>${link('approve')} ${link('deny')}</body></html>`;
}

async function answer(provider, request, response, outcome) {
  const { params } = await provider.interactionDetails(request, response);
  if (outcome !== 'approve') {
    await provider.interactionFinished(request, response, { error: 'access_denied', error_description: 'No.' });
    return;
  }
  const grant = new provider.Grant({ accountId: ACCOUNT, clientId: params.client_id });
  grant.addOIDCScope(params.scope);
  const consent = { grantId: await grant.save() };
  await provider.interactionFinished(request, response, { login: { accountId: ACCOUNT }, consent });
}

async function listen(habits) {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = `http://localhost:${server.address().port}`;

  const provider = new Provider(origin, configuration(habits));
  const seen = [];
  provider.use(async (ctx, next) => {
    await next();
    if (ctx.oidc?.route !== 'token') return;
    seen.push({ request: ctx.oidc.params ?? {}, proof: ctx.get('DPoP'), answer: ctx.body ?? {} });
  });

  const protocol = provider.callback();
  server.on('request', (request, response) => {
    const { pathname, searchParams } = new URL(request.url, origin);
    if (pathname === '/seen') {
      response.setHeader('Content-Type', 'application/json').end(JSON.stringify(seen));
    } else if (!pathname.startsWith('/interaction/')) {
      protocol(request, response);
    } else if (!searchParams.has('outcome')) {
      response.setHeader('Content-Type', 'text/html').end(question(pathname));
    } else {
      answer(provider, request, response, searchParams.get('outcome')).catch((error) => {
        response.statusCode = 400;
        response.end(error.message);
      });
    }
  });
  return origin;
}

const origins = {};
for (const [name, habits] of Object.entries(HABITS)) {
  origins[name] = await listen(habits);
}
const [, , file] = process.argv;
await writeFile(`${file}.unfinished`, JSON.stringify(origins));
await rename(`${file}.unfinished`, file);
