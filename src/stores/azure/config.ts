import { StoreFailure } from '../../model/failure.ts';

/**
 * Where a container is and how to get in. Credentials in the order in which they are taken: the connection
 * string, an account key, a shared access signature, and without any of them the default credential of
 * `@azure/identity` (environment, workload identity, managed identity, `az login`).
 */
export interface AzureStoreConfig {
  readonly container: string;
  /** A key prefix inside the container, such as `team-a/`; added and stripped by the driver. */
  readonly prefix?: string | undefined;
  readonly connectionString?: string | undefined;
  readonly account?: string | undefined;
  /** Base64, as the portal shows it. */
  readonly accountKey?: string | undefined;
  /** The query string of a shared access signature, with or without its question mark. */
  readonly sas?: string | undefined;
  /** Default: https://ACCOUNT.blob.core.windows.net. */
  readonly endpoint?: string | undefined;
}

export type Secret =
  | { readonly kind: 'shared-key'; readonly account: string; readonly key: Uint8Array }
  | { readonly kind: 'sas'; readonly query: string }
  | { readonly kind: 'default-credential' };

/** A configuration made plain. */
export interface AzureTarget {
  /** Scheme, host and port. */
  readonly origin: string;
  /** Percent-encoded path of the container, without a slash at its end; emulators put the account first. */
  readonly containerPath: string;
  readonly container: string;
  readonly prefix: string;
  readonly secret: Secret;
}

/** Public and the same for everybody: what `UseDevelopmentStorage=true` stands for. */
const emulator = {
  AccountName: 'devstoreaccount1',
  AccountKey: 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==',
  BlobEndpoint: 'http://127.0.0.1:10000/devstoreaccount1',
};

/** Free of secrets: `misplaced` when the configuration does not name one container, `denied` when not one way in. */
export function resolveTarget(config: AzureStoreConfig): AzureTarget {
  const { container } = config;
  // Letters, digits and single hyphens; system containers ($root, $web) begin with a dollar.
  if (!/^(\$root|\$web|(?=.{3,63}$)[a-z0-9]+(-[a-z0-9]+)*)$/.test(container)) {
    throw new StoreFailure(
      'misplaced',
      `azure: "${container}" is not a container name: use 3 to 63 lower case letters, digits and single hyphens`,
    );
  }
  const given =
    config.connectionString === undefined ? config : fromConnectionString(config.connectionString);
  const endpoint = endpointOf({ ...given, ...(config.endpoint ? { endpoint: config.endpoint } : {}) });
  const secret = secretOf(given, endpoint);
  return {
    origin: endpoint.origin,
    containerPath: `${endpoint.pathname.replace(/\/+$/, '')}/${container}`,
    container,
    prefix: config.prefix ?? '',
    secret,
  };
}

type Given = Pick<AzureStoreConfig, 'account' | 'accountKey' | 'sas' | 'endpoint'>;

function fromConnectionString(text: string): Given {
  let fields = new Map<string, string>();
  for (const pair of text.split(';')) {
    const at = pair.indexOf('=');
    if (at > 0) fields.set(pair.slice(0, at).trim().toLowerCase(), pair.slice(at + 1).trim());
  }
  if (fields.get('usedevelopmentstorage')?.toLowerCase() === 'true') {
    fields = new Map(Object.entries(emulator).map(([name, value]) => [name.toLowerCase(), value]));
  }
  const account = fields.get('accountname');
  const accountKey = fields.get('accountkey');
  const sas = fields.get('sharedaccesssignature');
  const endpoint = fields.get('blobendpoint') ?? composedEndpoint(fields, account);
  if (endpoint === undefined || (accountKey === undefined && sas === undefined)) {
    throw new StoreFailure(
      'denied',
      'azure: the connection string needs AccountName and AccountKey, or BlobEndpoint and SharedAccessSignature; ' +
        'copy it from "Access keys" or "Shared access signature" of the storage account',
    );
  }
  return {
    endpoint,
    ...(account === undefined ? {} : { account }),
    ...(accountKey === undefined ? {} : { accountKey }),
    ...(sas === undefined ? {} : { sas }),
  };
}

function composedEndpoint(fields: Map<string, string>, account: string | undefined): string | undefined {
  if (account === undefined) return undefined;
  const scheme = fields.get('defaultendpointsprotocol') ?? 'https';
  return `${scheme}://${account}.blob.${fields.get('endpointsuffix') ?? 'core.windows.net'}`;
}

function endpointOf(given: Given): URL {
  const text = given.endpoint ?? (given.account && `https://${given.account}.blob.core.windows.net`);
  if (!text)
    throw new StoreFailure(
      'misplaced',
      'azure: give `account`, `endpoint` or `connectionString`: the storage account is unknown',
    );
  // The text may carry a signature in its query, so it is not repeated.
  if (!URL.canParse(text))
    throw new StoreFailure(
      'misplaced',
      'azure: the endpoint is not a URL; it looks like https://ACCOUNT.blob.core.windows.net',
    );
  const url = new URL(text);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') {
    throw new StoreFailure(
      'misplaced',
      `azure: the endpoint begins with ${url.protocol} and must be https (or http for an emulator)`,
    );
  }
  return url;
}

function secretOf(given: Given, endpoint: URL): Secret {
  if (given.accountKey !== undefined) {
    return {
      kind: 'shared-key',
      account: given.account ?? accountIn(endpoint),
      key: decodeKey(given.accountKey),
    };
  }
  // An endpoint copied as "Blob SAS URL" carries its signature with it.
  const sas = given.sas ?? endpoint.search;
  if (sas !== '') {
    const query = sas.replace(/^\?/, '').replace(/[\s&]+$/, '');
    if (!/(^|&)sig=/.test(query) || /\s/.test(query)) {
      throw new StoreFailure(
        'denied',
        'azure: `sas` is not a shared access signature; it is a query string with se=, sp= and sig=',
      );
    }
    return { kind: 'sas', query };
  }
  if (endpoint.protocol !== 'https:') {
    throw new StoreFailure(
      'denied',
      'azure: an http endpoint needs an account key or a SAS: tokens are sent over https only',
    );
  }
  return { kind: 'default-credential' };
}

function accountIn(endpoint: URL): string {
  const first = endpoint.pathname.split('/')[1];
  const account = first || endpoint.hostname.split('.')[0];
  if (!account)
    throw new StoreFailure('denied', 'azure: `accountKey` needs `account`, the name of the storage account');
  return account;
}

function decodeKey(text: string): Uint8Array {
  const key = Buffer.from(text, 'base64');
  if (key.length === 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) {
    throw new StoreFailure(
      'denied',
      'azure: the account key is not base64; copy key1 or key2 from "Access keys" of the storage account',
    );
  }
  return key;
}
