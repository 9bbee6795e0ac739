import { createHmac, hash } from 'node:crypto';

/** What a request is signed with. */
export interface SigningKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

/** A request as it is signed: the path encoded already, the query encoded and sorted already. */
export interface Signable {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  /** Lower-case names, `host` among them, all to be signed. */
  readonly headers: Readonly<Record<string, string>>;
  /** Hex SHA-256 of the body. */
  readonly payloadSha256: string;
}

/** Hex SHA-256 of no bytes. */
export const emptySha256 = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';

// Proxies may rewrite these, so AWS's own clients leave them out of the signature as well.
const unsigned: ReadonlySet<string> = new Set(['cache-control', 'user-agent', 'connection', 'expect']);

/**
 * AWS Signature Version 4 for S3 (the path is encoded once and never normalised). The conditions are signed
 * too, so that a proxy that drops an If-Match makes the request fail instead of making it unconditional.
 */
export class Signer {
  readonly #region: string;
  readonly #service: string;
  /** Derived from secret and day; four hashes that need not be made for each request. */
  #derived: { readonly secret: string; readonly day: string; readonly key: Buffer } | undefined;
  #stamped: { readonly second: number; readonly stamp: string } | undefined;

  constructor(region: string, service = 's3') {
    this.#region = region;
    this.#service = service;
  }

  /** All headers to send: those given, the time, the session token and the authorization. */
  sign(request: Signable, keys: SigningKeys, nowMs: number): Record<string, string> {
    const stamp = this.#stamp(nowMs);
    const headers: Record<string, string> = {
      ...request.headers,
      'x-amz-content-sha256': request.payloadSha256,
      'x-amz-date': stamp,
    };
    if (keys.sessionToken !== undefined) headers['x-amz-security-token'] = keys.sessionToken;
    const { text, signed } = canonical(request, headers);
    const scope = `${stamp.slice(0, 8)}/${this.#region}/${this.#service}/aws4_request`;
    const toSign = `AWS4-HMAC-SHA256\n${stamp}\n${scope}\n${hash('sha256', text)}`;
    const signature = createHmac('sha256', this.#key(keys.secretAccessKey, stamp.slice(0, 8)))
      .update(toSign)
      .digest('hex');
    headers['authorization'] =
      `AWS4-HMAC-SHA256 Credential=${keys.accessKeyId}/${scope}, SignedHeaders=${signed}, Signature=${signature}`;
    return headers;
  }

  /** `20130524T000000Z`, computed once per second. */
  #stamp(nowMs: number): string {
    const second = Math.floor(nowMs / 1000);
    if (this.#stamped?.second !== second) {
      const stamp = new Date(second * 1000).toISOString().replaceAll(/[-:]|\.\d+/g, '');
      this.#stamped = { second, stamp };
    }
    return this.#stamped.stamp;
  }

  #key(secret: string, day: string): Buffer {
    if (this.#derived?.secret !== secret || this.#derived.day !== day) {
      let key = hmac(`AWS4${secret}`, day);
      for (const step of [this.#region, this.#service, 'aws4_request']) key = hmac(key, step);
      this.#derived = { secret, day, key };
    }
    return this.#derived.key;
  }
}

function canonical(
  request: Signable,
  headers: Readonly<Record<string, string>>,
): { readonly text: string; readonly signed: string } {
  const names = Object.keys(headers)
    .filter((name) => !unsigned.has(name))
    .sort();
  const signed = names.join(';');
  let text = `${request.method}\n${request.path}\n${request.query}\n`;
  for (const name of names) text += `${name}:${collapsed(headers[name] ?? '')}\n`;
  return { text: `${text}\n${signed}\n${request.payloadSha256}`, signed };
}

/** The signature is made over values without outer spaces and with single inner ones. */
function collapsed(value: string): string {
  return value.includes('  ') || value.startsWith(' ') || value.endsWith(' ')
    ? value.trim().replaceAll(/ +/g, ' ')
    : value;
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}
