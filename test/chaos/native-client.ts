import { type Response, send, signAzure, signS3 } from '../servers/request.ts';
import type { AzureSiteConfig, GcsSiteConfig, S3SiteConfig, SiteConfig } from '../servers/start.ts';

/** Somebody's own program straight at a bucket: it writes over whatever stands there and asks nobody. */
export interface NativeClient {
  /** `meta` becomes the object's user metadata. */
  put(key: string, body: Buffer, meta: Readonly<Record<string, string>>): Promise<void>;
  /** What is absent stays so. */
  remove(key: string): Promise<void>;
}

export const nativeType = 'text/plain';

export function nativeClient(site: SiteConfig): NativeClient {
  if (site.kind === 's3') return s3Client(site);
  return site.kind === 'gcs' ? gcsClient(site) : azureClient(site);
}

function s3Client(site: S3SiteConfig): NativeClient {
  const url = (key: string) => `${site.endpoint}/${site.bucket}/${key}`;
  return {
    async put(key, body, meta) {
      const headers = { 'content-type': nativeType, ...prefixed('x-amz-meta-', meta) };
      expect(await send(signS3({ method: 'PUT', url: url(key), headers, body }, site)), [200]);
    },
    async remove(key) {
      expect(await send(signS3({ method: 'DELETE', url: url(key) }, site)), [204]);
    },
  };
}

function gcsClient(site: GcsSiteConfig): NativeClient {
  return {
    async put(key, body, meta) {
      const json = JSON.stringify({ name: key, contentType: nativeType, metadata: meta });
      const text =
        `--cut\r\ncontent-type: application/json\r\n\r\n${json}\r\n` +
        `--cut\r\ncontent-type: ${nativeType}\r\n\r\n${body.toString('latin1')}\r\n--cut--\r\n`;
      const whole = Buffer.from(text, 'latin1');
      const headers = {
        'content-type': 'multipart/related; boundary=cut',
        'content-length': String(whole.length),
      };
      const url = `${site.endpoint}/upload/storage/v1/b/${site.bucket}/o?uploadType=multipart`;
      expect(await send({ method: 'POST', url, headers, body: whole }), [200]);
    },
    async remove(key) {
      const url = `${site.endpoint}/storage/v1/b/${site.bucket}/o/${encodeURIComponent(key)}`;
      expect(await send({ method: 'DELETE', url }), [204, 404]);
    },
  };
}

function azureClient(site: AzureSiteConfig): NativeClient {
  const fields = new Map(
    site.connectionString
      .split(';')
      .map((field) => /^([^=]*)=?(.*)$/.exec(field)!.slice(1) as [string, string]),
  );
  const keys = { account: fields.get('AccountName')!, accountKey: fields.get('AccountKey')! };
  const url = (key: string) => `${fields.get('BlobEndpoint')}/${site.container}/${key}`;
  return {
    async put(key, body, meta) {
      const headers = {
        'x-ms-blob-type': 'BlockBlob',
        'content-type': nativeType,
        ...prefixed('x-ms-meta-', meta),
      };
      expect(await send(signAzure({ method: 'PUT', url: url(key), headers, body }, keys)), [201]);
    },
    async remove(key) {
      expect(await send(signAzure({ method: 'DELETE', url: url(key) }, keys)), [202, 404]);
    },
  };
}

function prefixed(prefix: string, meta: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(meta).map(([name, value]) => [prefix + name, value]));
}

function expect({ status, text }: Response, allowed: readonly number[]): void {
  if (!allowed.includes(status)) throw new Error(`answered ${status}: ${text.slice(0, 200)}`);
}
