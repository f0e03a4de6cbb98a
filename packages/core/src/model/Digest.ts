/** Content digests, `algorithm:hex`. https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests */
import { sha256, sha512 } from "@noble/hashes/sha2.js"
import { bytesToHex } from "@noble/hashes/utils.js"
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { ValidationError } from "../ValidationError.js"

/** The two registered algorithms; others cannot be verified and are refused. */
export type Algorithm = "sha256" | "sha512"

const pattern = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/

export const Digest = Schema.String.pipe(
  Schema.pattern(pattern, { message: () => "expected sha256: with 64 or sha512: with 128 lower-case hex digits" }),
  Schema.brand("Digest")
)
export type Digest = typeof Digest.Type

export const is = (text: string): text is Digest => pattern.test(text)

/** The digest, or a ValidationError with reason `InvalidDigest`. */
export const parse = (text: string): Either.Either<Digest, ValidationError> =>
  is(text)
    ? Either.right(text)
    : Either.left(ValidationError.of("InvalidDigest", JSON.stringify(text), fault(text).rule))

export const algorithm = (digest: Digest): Algorithm => (digest.startsWith("sha256:") ? "sha256" : "sha512")

/** The part behind the colon. */
export const hex = (digest: Digest): string => digest.slice(digest.indexOf(":") + 1)

/** The first 12 hex digits, as `docker` shows them. */
export const short = (digest: Digest): string => hex(digest).slice(0, 12)

/** The digest of bytes that are at hand whole; SHA-256 unless told otherwise. */
export const fromBytes = (bytes: Uint8Array, algorithm: Algorithm = "sha256"): Digest =>
  `${algorithm}:${bytesToHex(algorithm === "sha256" ? sha256(bytes) : sha512(bytes))}` as Digest

/** Why a text is no digest: the index of the character at fault, and the rule it breaks. */
export const fault = (text: string): { readonly at: number; readonly rule: string } => {
  const colon = text.indexOf(":")
  if (colon < 0) return { at: 0, rule: "a digest is ALGORITHM:HEX, for example sha256: and 64 hex digits" }
  const name = text.slice(0, colon)
  if (name !== "sha256" && name !== "sha512") {
    return { at: 0, rule: `the algorithm ${JSON.stringify(name)} is not sha256 or sha512` }
  }
  const wrong = /[^0-9a-f]/u.exec(text.slice(colon + 1))
  if (wrong !== null) return { at: colon + 1 + wrong.index, rule: "a digest has lower-case hex digits only" }
  const wanted = name === "sha256" ? 64 : 128
  const length = text.length - colon - 1
  return {
    at: colon + 1 + Math.min(length, wanted),
    rule: `a ${name} digest has ${wanted} hex digits, this has ${length}`
  }
}
