export { type Config, datasetOf, loadConfig, parseConfig, siteOf, toPolicy } from './load.ts';
export { ConfigFailure, closest, formatProblem, type Problem } from './problems.ts';
export { jsonSchema, renderReference } from './reference.ts';
export type { DatasetConfig, SourceConfig } from './schema.ts';
export { redact, Secret } from './secret.ts';
export type { AzureSite, FilesystemSite, GcsSite, S3Site, SiteConfig } from './sites.ts';
export type { Address } from './values.ts';
export type { Variables } from './variables.ts';
