import { StoreFailure, type StoreFailureCode } from '../../model/failure.ts';
import { parseXml, type XmlAnswer } from './xml.ts';

/** An answer that is not a success, as far as it could be understood. */
export interface Refusal {
  readonly status: number;
  /** S3's error code, as in `NoSuchKey`; empty when the answer has none (every answer to HEAD). */
  readonly code: string;
  /** S3's own words; empty when there are none. */
  readonly message: string;
  /** The answer has a body, and it is no error of S3. */
  readonly foreign: boolean;
  /** Where the bucket is, when the answer says so. */
  readonly region: string | undefined;
  readonly requestId: string | undefined;
  readonly retryAfterMs: number | undefined;
  /** The server's clock. */
  readonly serverMs: number | undefined;
}

/** What was asked, for the message. */
export interface Asked {
  /** As in `PUT of "a/b"`. */
  readonly what: string;
  readonly bucket: string;
  readonly origin: string;
  readonly region: string;
  readonly nowMs: number;
}

export function refusalOf(status: number, headers: Readonly<Record<string, string>>, body: string): Refusal {
  const xml = parseXml(body);
  const error = xml?.root === 'Error' ? xml : undefined;
  return {
    status,
    code: error?.text('Code') ?? headers['x-amz-error-code'] ?? headers['x-minio-error-code'] ?? '',
    message: error?.text('Message') ?? '',
    foreign: error === undefined && body.trim() !== '',
    region: headers['x-amz-bucket-region'] ?? regionOf(error),
    requestId: headers['x-amz-request-id'],
    retryAfterMs: retryAfterOf(headers['retry-after']),
    serverMs: timeOf(headers['date']),
  };
}

/** The condition did not hold, whichever of S3's ways of saying so was taken. */
export function isConflict(refusal: Refusal, matching: boolean): boolean {
  if (refusal.status === 412 || refusal.code === 'PreconditionFailed') return true;
  // 409 is a lost race with another conditional write of the same key.
  if (conflictCodes.has(refusal.code)) return true;
  // If-Match where there is no object.
  return matching && refusal.code === 'NoSuchKey';
}

export function isAbsentUpload(refusal: Refusal): boolean {
  return refusal.code === 'NoSuchUpload';
}

export function failureOf(refusal: Refusal, asked: Asked): StoreFailure {
  const code = codeOf(refusal, asked.region);
  const said = [refusal.status, refusal.code, refusal.message && `(${refusal.message})`]
    .filter(Boolean)
    .join(' ');
  const text = `S3 bucket "${asked.bucket}": ${asked.what} was answered ${said}; ${remedyOf(code, refusal, asked)}`;
  const cause = new Error(
    `S3 ${said}${refusal.requestId === undefined ? '' : `, request ${refusal.requestId}`}`,
  );
  const wait = refusal.retryAfterMs === undefined ? {} : { retryAfterMs: refusal.retryAfterMs };
  return new StoreFailure(code, text, { cause, ...wait });
}

const conflictCodes: ReadonlySet<string> = new Set(['ConditionalRequestConflict', 'OperationAborted']);

// From S3's list of error codes, and what its compatible servers add.
const codes: Readonly<Record<string, StoreFailureCode>> = {
  AccessDenied: 'denied',
  AccountProblem: 'denied',
  AllAccessDisabled: 'denied',
  AuthorizationHeaderMalformed: 'denied',
  ExpiredToken: 'denied',
  InvalidAccessKeyId: 'denied',
  InvalidClientTokenId: 'denied',
  InvalidSecurity: 'denied',
  InvalidToken: 'denied',
  InvalidTokenId: 'denied',
  NotSignedUp: 'denied',
  RequestExpired: 'denied',
  RequestTimeTooSkewed: 'denied',
  SignatureDoesNotMatch: 'denied',
  TokenRefreshRequired: 'denied',
  // versitygw's word for an unknown key id, with status 404.
  XAdminUserNotFound: 'denied',
  // Somebody deleted it between two requests about it.
  NoSuchKey: 'changed',
  NoSuchVersion: 'changed',
  IllegalLocationConstraintException: 'misplaced',
  InvalidBucketName: 'misplaced',
  NoSuchBucket: 'misplaced',
  PermanentRedirect: 'misplaced',
  BandwidthLimitExceeded: 'throttled',
  RequestLimitExceeded: 'throttled',
  SlowDown: 'throttled',
  SlowDownRead: 'throttled',
  SlowDownWrite: 'throttled',
  ThrottlingException: 'throttled',
  TooManyRequests: 'throttled',
  BadDigest: 'corrupt',
  InvalidDigest: 'corrupt',
  XAmzContentChecksumMismatch: 'corrupt',
  XAmzContentSHA256Mismatch: 'corrupt',
  IncompleteBody: 'unavailable',
  InternalError: 'unavailable',
  RequestTimeout: 'unavailable',
  ServiceUnavailable: 'unavailable',
  TemporaryRedirect: 'unavailable',
  InvalidPart: 'upload-lost',
  InvalidPartOrder: 'upload-lost',
  NoSuchUpload: 'upload-lost',
  InsufficientStorage: 'full',
  NoSpaceLeft: 'full',
  QuotaExceeded: 'full',
  XMinioAdminBucketQuotaExceeded: 'full',
  XMinioStorageFull: 'full',
  // The object is in an archive class and must be restored before it can be read.
  InvalidObjectState: 'unsupported',
  MethodNotAllowed: 'unsupported',
  NotImplemented: 'unsupported',
};

function codeOf(refusal: Refusal, region: string): StoreFailureCode {
  const { status, code } = refusal;
  if (namesOtherRegion(refusal, region)) return 'misplaced';
  const known = codes[code];
  if (known !== undefined) return known;
  if (status === 429) return 'throttled';
  if (status === 507) return 'full';
  if (status >= 500) return 'unavailable';
  if (status === 408) return 'unavailable';
  if (status === 401 || status === 403) return 'denied';
  // What is not found is never the object's fault: nothing may be parked for it.
  if (refusal.foreign || status < 400 || status === 404) return 'misplaced';
  // Without S3's code (HEAD has no body) a plain 400 tells nothing of the object.
  return code === '' ? 'misplaced' : 'invalid';
}

/** Many answers name the region; only these are about it. */
function namesOtherRegion(refusal: Refusal, configured: string): boolean {
  if (refusal.region === undefined || refusal.region === configured) return false;
  return (
    refusal.status === 301 || (refusal.status === 400 && refusal.code === 'AuthorizationHeaderMalformed')
  );
}

function remedyOf(code: StoreFailureCode, refusal: Refusal, asked: Asked): string {
  switch (code) {
    case 'denied':
      return deniedRemedy(refusal, asked);
    case 'misplaced':
      return misplacedRemedy(refusal, asked);
    case 'throttled':
      return 'it asks for fewer requests';
    case 'full':
      return 'free space or raise the quota there';
    case 'corrupt':
      return 'the body was changed on its way; it will be sent again';
    case 'upload-lost':
      return 'the upload or its parts are gone, and it starts again';
    case 'changed':
      return 'it was deleted meanwhile; it is looked at again';
    case 'unavailable':
      return 'it will be tried again';
    case 'unsupported':
      return refusal.code === 'InvalidObjectState'
        ? 'the object is archived: restore it to a storage class that can be read'
        : 'this server does not offer what was asked for';
    default:
      return 'S3 cannot hold this object as it is';
  }
}

function deniedRemedy(refusal: Refusal, asked: Asked): string {
  switch (refusal.code) {
    case 'RequestTimeTooSkewed':
    case 'RequestExpired':
      return `${skewOf(refusal, asked)}; set the clock of this machine`;
    case 'SignatureDoesNotMatch':
      return 'check the secretAccessKey of this site, and the region';
    case 'InvalidAccessKeyId':
    case 'InvalidClientTokenId':
    case 'XAdminUserNotFound':
      return 'check the accessKeyId of this site';
    case 'ExpiredToken':
    case 'InvalidToken':
    case 'InvalidTokenId':
    case 'TokenRefreshRequired':
      return 'the session token has expired or is not valid: give a new one, or use a role that renews it';
    default:
      break;
  }
  if (refusal.foreign) return `is ${asked.origin} an S3 endpoint? The answer is not one of S3`;
  const absent =
    refusal.code === '' ? ' (S3 also says this of an absent key when s3:ListBucket is missing)' : '';
  return `check the credentials of this site and their permissions on the bucket${absent}`;
}

function skewOf(refusal: Refusal, asked: Asked): string {
  if (refusal.serverMs === undefined) return 'the clocks differ too much';
  const seconds = Math.round((asked.nowMs - refusal.serverMs) / 1000);
  return `the clock here is ${Math.abs(seconds)} s ${seconds < 0 ? 'behind' : 'ahead of'} the store's`;
}

function misplacedRemedy(refusal: Refusal, asked: Asked): string {
  if (refusal.region !== undefined && refusal.region !== asked.region) {
    return `the bucket is in region "${refusal.region}", the site is configured for "${asked.region}"`;
  }
  if (refusal.foreign || refusal.code === '') {
    return `${asked.origin} is not an S3 endpoint, or there is no such bucket; check endpoint, pathStyle and bucket`;
  }
  return `check bucket, region and endpoint (${asked.origin})`;
}

function regionOf(error: XmlAnswer | undefined): string | undefined {
  const region = error?.text('Region');
  return region === '' ? undefined : region;
}

function retryAfterOf(header: string | undefined): number | undefined {
  const seconds = Number(header);
  return header === undefined || !Number.isFinite(seconds) || seconds < 0 ? undefined : seconds * 1000;
}

function timeOf(header: string | undefined): number | undefined {
  const ms = Date.parse(header ?? '');
  return Number.isNaN(ms) ? undefined : ms;
}
