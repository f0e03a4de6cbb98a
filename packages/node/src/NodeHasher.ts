/** OpenSSL's SHA-256 and SHA-512 for core's `Hasher`, ten times as fast as portable code. */
import * as Crypto from "node:crypto"
import { type Digest, Hasher } from "@effect-registry/core"
import * as Layer from "effect/Layer"

export const make: Hasher.Service = {
  make: (algorithm) => {
    const hash = Crypto.createHash(algorithm)
    return {
      update: (bytes) => void hash.update(bytes),
      digest: () => `${algorithm}:${hash.digest("hex")}` as Digest.Digest
    }
  }
}

export const layer: Layer.Layer<never> = Layer.succeed(Hasher.Hasher, make)
