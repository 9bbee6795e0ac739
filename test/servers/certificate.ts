import type { TestContext } from 'node:test';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';

/**
 * For tests only: a self-signed certificate for `localhost` and `[::1]`, not for 127.0.0.1, valid from 2020 to 2120,
 * and its key, which protects nothing.
 */
export const testCertificate = {
  cert: `-----BEGIN CERTIFICATE-----
MIIBdjCCAR2gAwIBAgIBATAKBggqhkjOPQQDAjAWMRQwEgYDVQQDDAtpc29iYXIg
dGVzdDAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowFjEUMBIGA1UE
AwwLaXNvYmFyIHRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASkatGGr8bL
jTe6ez+VbDLgxs903Gpz3Ikri5wK1h1ZyJf7TrC6s3FqLN5CyvAchCGfmdCqdkwC
n59Xs5t8HPvto1owWDAmBgNVHREEHzAdgglsb2NhbGhvc3SHEAAAAAAAAAAAAAAA
AAAAAAEwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUFliAjKbTcBpUA71b18ZR
LjAECyUwCgYIKoZIzj0EAwIDRwAwRAIgBWIXaXbtBR0WbT6ktRwFxpu530YF7Qt0
omm3LhYLm0ACICndLBCVJr9ntsAr5Q00d5bKDaq/BYCqABTvZfXRPKT6
-----END CERTIFICATE-----`,
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgq9dBFg1sb2tTqfqc
3C7KYeG3NUyi2hlp5oe9KjqF5qChRANCAASkatGGr8bLjTe6ez+VbDLgxs903Gpz
3Ikri5wK1h1ZyJf7TrC6s3FqLN5CyvAchCGfmdCqdkwCn59Xs5t8HPvt
-----END PRIVATE KEY-----`,
};

/** For the rest of one test this process trusts what the certificate signs. */
export function trustTestCertificate(t: TestContext): void {
  const before = getCACertificates('default');
  t.after(() => setDefaultCACertificates(before));
  setDefaultCACertificates([...before, testCertificate.cert]);
}
