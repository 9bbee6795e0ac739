import { requireProgram } from './cache.ts';
import type { SiteConfig } from './running.ts';

export function rcloneProgram(): string {
  return requireProgram('rclone');
}

/**
 * The environment in which rclone knows each site as a remote of the given name; a path is `name:bucket/key`.
 * Complete: the caller adds nothing of its own, because rclone refuses to work with AWS_CA_BUNDLE set.
 */
export function rcloneEnvironment(remotes: Readonly<Record<string, SiteConfig>>): Record<string, string> {
  const environment: Record<string, string> = {
    PATH: process.env.PATH ?? '',
    HOME: '/nonexistent',
    RCLONE_CONFIG: '',
  };
  for (const [remote, site] of Object.entries(remotes)) {
    for (const [name, value] of Object.entries(settingsOf(site))) {
      environment[`RCLONE_CONFIG_${remote}_${name}`.toUpperCase()] = value;
    }
  }
  return environment;
}

function settingsOf(site: SiteConfig): Record<string, string> {
  if (site.kind === 's3') {
    return {
      type: 's3',
      provider: 'Other',
      endpoint: site.endpoint,
      region: site.region,
      access_key_id: site.accessKeyId,
      secret_access_key: site.secretAccessKey,
      force_path_style: 'true',
      list_version: '2',
    };
  }
  if (site.kind === 'gcs') {
    return {
      type: 'google cloud storage',
      endpoint: `${site.endpoint}/storage/v1/`,
      anonymous: 'true',
      no_check_bucket: 'true',
      bucket_policy_only: 'true',
    };
  }
  return { type: 'azureblob', connection_string: site.connectionString };
}
