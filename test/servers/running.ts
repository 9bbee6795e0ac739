/** What a test holds of a server; `start.ts` gives it. */

export type ServerKind = 's3' | 'gcs' | 'azure';

export interface S3SiteConfig {
  readonly kind: 's3';
  readonly bucket: string;
  readonly endpoint: string;
  readonly pathStyle: true;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface GcsSiteConfig {
  readonly kind: 'gcs';
  readonly bucket: string;
  readonly endpoint: string;
}

export interface AzureSiteConfig {
  readonly kind: 'azure';
  readonly container: string;
  readonly connectionString: string;
}

export type SiteConfig = S3SiteConfig | GcsSiteConfig | AzureSiteConfig;

export interface StartOptions {
  /** Kept by `stop`, and may be started again: absent means private and removed. */
  readonly dataDir?: string;
  /** The same as before a crash, say; a free one when absent. */
  readonly port?: number;
  /** Where the server posts its bucket notifications (minio, versitygw). It must already answer. */
  readonly webhookUrl?: string;
  /** minio only: events are queued on disk, come 3 s late and are retried; otherwise at once, and lost on failure. */
  readonly webhookQueue?: boolean;
  /** ministack only: CopyObject honours conditions on the destination, which no server here does by itself. */
  readonly copyConditions?: boolean;
  /** gcs-memory only: more writes of one name are answered 429, as Google does above about 1. No limit when absent. */
  readonly writesPerSecondPerName?: number;
  /**
   * azurite only: nothing is kept on disk. Otherwise it writes its whole index there every five seconds and answers
   * nobody meanwhile, for 0.1 s with 12,000 blobs and longer with more.
   */
  readonly inMemory?: boolean;
}

export interface RunningServer<C extends SiteConfig = SiteConfig> {
  readonly name: string;
  readonly kind: C['kind'];
  readonly product: string;
  readonly version: string;
  /** Without a slash at the end. */
  readonly endpoint: string;
  /** 0 for a server of the user's own, which can be neither paused nor stopped. */
  readonly pid: number;
  readonly port: number;
  readonly logFile: string;
  /** Makes a fresh bucket or container; its name. A server of the user's own: the bucket that was given. */
  newBucket(): Promise<string>;
  siteConfig(bucket: string): C;
  /** SIGSTOP: connections stay open and nothing answers. */
  pause(): void;
  resume(): void;
  /** SIGKILL, as in a crash; call `stop` afterwards as well. */
  kill(): Promise<void>;
  cpuSeconds(): number;
  stop(): Promise<void>;
}
