/** Incremental SHA-256 and SHA-512, as a service so that a platform can bring its native one. */
import { sha256, sha512 } from "@noble/hashes/sha2.js"
import { bytesToHex } from "@noble/hashes/utils.js"
import * as Context from "effect/Context"
import type { Algorithm, Digest } from "./model/Digest.js"

/** One running hash. Synchronous: it is called for every chunk. */
export interface Hash {
  readonly update: (bytes: Uint8Array) => void
  /** The digest of all bytes so far; call once, last. */
  readonly digest: () => Digest
}

export interface Service {
  readonly make: (algorithm: Algorithm) => Hash
}

/** Defaults to a portable implementation; `NodeRegistry.layer` brings OpenSSL's. */
export class Hasher extends Context.Reference<Hasher>()("@effect-registry/core/Hasher", {
  defaultValue: (): Service => portable
}) {}

export const portable: Service = {
  make: (algorithm) => {
    const hash = (algorithm === "sha256" ? sha256 : sha512).create()
    return {
      update: (bytes) => void hash.update(bytes),
      digest: () => `${algorithm}:${bytesToHex(hash.digest())}` as Digest
    }
  }
}
