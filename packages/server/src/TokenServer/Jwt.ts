/** Tokens that docker-registry verifies by itself. https://distribution.github.io/distribution/spec/auth/jwt/ */
import { createPrivateKey, randomUUID, sign as signBytes, X509Certificate } from "node:crypto"
import type { Scope } from "./Access.js"

/** Who signs: a P-256 key, and its certificate by an authority that the registry trusts. PEM. */
export interface Signer {
  readonly cert: string
  readonly key: string
}

export interface Claims {
  readonly issuer: string
  readonly service: string
  readonly account: string
  readonly access: ReadonlyArray<Scope>
  /** From now on. */
  readonly seconds: number
}

/** ES256, with the certificate in the header. */
export const sign = (signer: Signer, { access, account, issuer, seconds, service }: Claims): string => {
  const now = Math.floor(Date.now() / 1000)
  const header = { typ: "JWT", alg: "ES256", x5c: [new X509Certificate(signer.cert).raw.toString("base64")] }
  const claims = {
    iss: issuer,
    sub: account,
    aud: service,
    exp: now + seconds,
    // The registry's clock may be a second behind.
    nbf: now - 10,
    iat: now,
    jti: randomUUID(),
    access
  }
  const text = `${encode(header)}.${encode(claims)}`
  const signature = signBytes("sha256", Buffer.from(text), {
    key: createPrivateKey(signer.key),
    dsaEncoding: "ieee-p1363"
  })
  return `${text}.${signature.toString("base64url")}`
}

// internal

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString("base64url")
