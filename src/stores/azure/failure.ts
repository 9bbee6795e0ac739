import { StoreFailure, type StoreFailureCode } from '../../model/failure.ts';
import { type HttpAnswer, textOf } from '../http/send.ts';

/** What the service said when it said no; the cause of every translated failure. Holds no header that was sent. */
export class AzureError extends Error {
  override readonly name = 'AzureError';
  readonly status: number;
  /** The service's own code, such as `ConditionNotMet`; empty when the answer was not the Blob service's. */
  readonly code: string;
  readonly requestId: string;
  readonly retryAfterMs: number | undefined;

  constructor(status: number, code: string, said: string, requestId: string, retryAfterMs?: number) {
    super(`${status} ${code || 'without a code'}${said ? `: ${said}` : ''}`);
    this.status = status;
    this.code = code;
    this.requestId = requestId;
    this.retryAfterMs = retryAfterMs;
  }
}

const maxErrorTextBytes = 64 * 1024;

/** Consumes an answer that is not a success. */
export async function errorOf(answer: HttpAnswer, signal: AbortSignal): Promise<AzureError> {
  const { status, headers } = answer;
  const text = await errorText(answer, signal);
  const code = headers['x-ms-error-code'] ?? /<Code>([A-Za-z]+)<\/Code>/.exec(text)?.[1] ?? '';
  return new AzureError(
    status,
    isBlobService(headers) ? code : '',
    firstLine(/<Message>([^<]*)/.exec(text)?.[1] ?? ''),
    headers['x-ms-request-id'] ?? '',
    retryAfterMs(headers['retry-after']),
  );
}

export function isBlobService(headers: Readonly<Record<string, string>>): boolean {
  return headers['x-ms-request-id'] !== undefined || headers['x-ms-error-code'] !== undefined;
}

async function errorText(answer: HttpAnswer, signal: AbortSignal): Promise<string> {
  if (Number(answer.headers['content-length'] ?? 0) > maxErrorTextBytes) {
    answer.body.destroy();
    return '';
  }
  return textOf(answer, signal);
}

/** Only the first line: what follows holds request ids, and for refused signatures what was signed. */
function firstLine(message: string): string {
  return (message.split(/[\r\n]/, 1)[0] ?? '').slice(0, 300);
}

function retryAfterMs(header: string | undefined): number | undefined {
  const seconds = Number(header);
  return header !== undefined && Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : undefined;
}

/** Codes whose meaning the status does not tell; the rest goes by status. */
const meanings: Record<string, { readonly code: StoreFailureCode; readonly advice: string }> = {
  AuthenticationFailed: {
    code: 'denied',
    advice:
      'The signature was refused: check the account key or the SAS (expired? wrong resource?), and this ' +
      "machine's clock, which may be at most 15 minutes off.",
  },
  AuthorizationFailure: {
    code: 'denied',
    advice:
      'Check the key or SAS, whether the SAS has expired, and whether the firewall of the storage account lets ' +
      'this machine in.',
  },
  AuthorizationPermissionMismatch: {
    code: 'denied',
    advice:
      'With a SAS: it lacks a permission; racwdl and t (tags) are needed. With an identity: give it the role ' +
      '"Storage Blob Data Contributor" on the container; index tags need "Storage Blob Data Owner" (or set ' +
      '`capabilities.tags` to false: tags then travel in the metadata). A new role takes minutes to work.',
  },
  AuthorizationProtocolMismatch: {
    code: 'denied',
    advice: 'The SAS is for https only: use an https endpoint.',
  },
  AuthorizationSourceIPMismatch: {
    code: 'denied',
    advice: 'The SAS does not allow the address of this machine.',
  },
  AuthorizationServiceMismatch: { code: 'denied', advice: 'The SAS is not for the Blob service (ss=b).' },
  AuthorizationResourceTypeMismatch: {
    code: 'denied',
    advice: 'An account SAS needs the resource types container and object (srt=co).',
  },
  UnauthorizedBlobOverwrite: {
    code: 'denied',
    advice: 'The SAS may create blobs and not overwrite them: it needs the permission w beside c.',
  },
  KeyBasedAuthenticationNotPermitted: {
    code: 'denied',
    advice: 'The account forbids keys: leave the key out of the configuration and use an identity.',
  },
  AccountIsDisabled: {
    code: 'denied',
    advice: 'The storage account is disabled: see its page in the portal.',
  },
  PublicAccessNotPermitted: { code: 'denied', advice: 'No credential was sent; check the configuration.' },
  NoAuthenticationInformation: {
    code: 'denied',
    advice: 'No credential was accepted; check the configuration.',
  },
  InvalidAuthenticationInfo: {
    code: 'denied',
    advice: 'The credential is malformed or has expired, or belongs to another tenant.',
  },
  ContainerNotFound: { code: 'misplaced', advice: 'Create the container, or correct its name.' },
  ContainerBeingDeleted: { code: 'misplaced', advice: 'The container is being deleted.' },
  ContainerDisabled: { code: 'misplaced', advice: 'The container is disabled.' },
  ResourceNotFound: { code: 'misplaced', advice: 'Check account, endpoint and container.' },
  InvalidResourceName: { code: 'invalid', advice: 'Azure does not accept this name.' },
  InvalidUri: { code: 'invalid', advice: 'Azure does not accept this name (private-use characters, say).' },
  RequestUrlFailedToParse: { code: 'invalid', advice: 'Azure does not accept this name.' },
  InvalidInput: { code: 'invalid', advice: 'Azure does not accept this name or its metadata.' },
  InvalidMetadata: { code: 'invalid', advice: 'Azure does not accept its metadata.' },
  EmptyMetadataKey: { code: 'invalid', advice: 'Azure does not accept its metadata.' },
  MetadataTooLarge: { code: 'invalid', advice: 'Its metadata is over 8 KiB.' },
  InvalidTag: { code: 'invalid', advice: 'Azure does not accept its tags.' },
  InvalidTags: { code: 'invalid', advice: 'Azure does not accept its tags.' },
  TagsTooLarge: { code: 'invalid', advice: 'Azure does not accept its tags.' },
  RequestBodyTooLarge: { code: 'invalid', advice: 'The body is over the limit of the service.' },
  BlockCountExceedsLimit: {
    code: 'unavailable',
    advice: 'Too many uncommitted blocks under this name; they expire a week after the last one.',
  },
  InvalidBlobType: {
    code: 'invalid',
    advice: 'A page or append blob has this name, which a block blob cannot replace: remove or rename it.',
  },
  BlobArchived: { code: 'invalid', advice: 'The blob is in the archive tier: rehydrate it, then retry.' },
  BlobBeingRehydrated: { code: 'unavailable', advice: 'The blob is coming back from the archive tier.' },
  BlobImmutableDueToPolicy: {
    code: 'invalid',
    advice: 'An immutability policy or legal hold keeps the blob: release it, then retry the parked change.',
  },
  LeaseIdMissing: {
    code: 'unavailable',
    advice: 'Somebody holds a lease on the blob: wait for it or break it.',
  },
  LeaseAlreadyPresent: { code: 'unavailable', advice: 'Somebody holds a lease: wait for it or break it.' },
  Md5Mismatch: { code: 'corrupt', advice: 'The bytes were damaged on the way.' },
  InvalidMd5: { code: 'corrupt', advice: 'The digest was damaged on the way.' },
  Crc64Mismatch: { code: 'corrupt', advice: 'The bytes were damaged on the way.' },
  InvalidBlockList: { code: 'upload-lost', advice: 'The blocks are gone, so the upload must start again.' },
  InvalidBlobOrBlock: {
    code: 'unavailable',
    advice: "Another program's unfinished upload of this name is in the way; it expires within a week.",
  },
  InvalidBlockId: {
    code: 'unavailable',
    advice: "Another program's unfinished upload of this name is in the way; it expires within a week.",
  },
  ServerBusy: { code: 'throttled', advice: 'The service asks for fewer requests.' },
  AccountLimitExceeded: { code: 'full', advice: 'The account is at its capacity.' },
  OperationTimedOut: { code: 'unavailable', advice: 'The service took too long.' },
  InternalError: { code: 'unavailable', advice: 'The service failed.' },
  UnsupportedHttpVerb: { code: 'misplaced', advice: 'This endpoint is not the Blob service.' },
};

/** Translates once, at the edge. `what` is a verb and its object in the words of a person. */
export function failureOf(error: AzureError, what: string, where: string): StoreFailure {
  const { code, advice } = meanings[error.code] ?? byStatus(error);
  const request = error.requestId ? ` (request ${error.requestId})` : '';
  const message = `${what} failed at ${where}: ${error.message}${request}. ${advice}`;
  return new StoreFailure(code, message, {
    cause: error,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
  });
}

function byStatus({ status, code }: AzureError): { code: StoreFailureCode; advice: string } {
  if (status === 429 || (status === 503 && code !== '')) {
    return { code: 'throttled', advice: 'The service asks for fewer requests.' };
  }
  if (status >= 500) return { code: 'unavailable', advice: 'The service or a gateway before it is failing.' };
  if (status === 401 || status === 403) {
    return {
      code: 'denied',
      advice: 'Check the credentials, their permissions and the firewall of the account.',
    };
  }
  if (code === '' || status < 400) {
    return {
      code: 'misplaced',
      advice: 'This does not answer as Azure Blob Storage does: check the endpoint.',
    };
  }
  if (status === 404) return { code: 'misplaced', advice: 'Check account, endpoint and container.' };
  if (status === 408) return { code: 'unavailable', advice: 'The service waited too long for the request.' };
  if (status === 409) return { code: 'unavailable', advice: 'Something else is going on with this blob.' };
  return { code: 'invalid', advice: 'The service will not accept this request however often it is sent.' };
}
