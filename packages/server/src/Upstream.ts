/** The registry that a pull-through cache stands before, as the cache sees it. */
import type * as HttpClient from "@effect/platform/HttpClient"
import {
  type Digest,
  RegistryConfig,
  type RegistryError,
  RepositoryReader,
  type ValidationError
} from "@effect-registry/core"
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Stream from "effect/Stream"
import type { Referrer, Stored } from "./ManifestStore.js"

/** What a cache can do about it. */
export type UpstreamErrorReason =
  /** These credentials, or nobody's, may not read it: what is cached is no answer either. */
  | "Refused"
  /** Too many requests. */
  | "RateLimited"
  /** No connection, or a failure of the other registry's own. */
  | "Unavailable"
  | "TimedOut"
  /** An answer that is wrong: bytes of another digest, something that is no registry. */
  | "Invalid"

/** The other registry could not be asked. */
export class UpstreamError extends Data.TaggedError("UpstreamError")<{
  readonly reason: UpstreamErrorReason
  /** One line for the log, without control characters; never sent to a client. */
  readonly message: string
}> {}

export interface UpstreamBlob {
  /** Bytes; `undefined` where the other registry does not say. */
  readonly size: number | undefined
  /** The whole of it. Nobody has verified it; chunks stay as they are after they were handed out. */
  readonly stream: Stream.Stream<Uint8Array, UpstreamError>
}

/** `None` is what the other registry does not have. It is asked by its own credentials, never by those of a client. */
export interface Upstream {
  /** `https://registry-1.docker.io`, for logs. */
  readonly url: string
  /** The digest that a tag names now. */
  readonly resolve: (repository: string, tag: string) => Effect.Effect<Option.Option<Digest.Digest>, UpstreamError>
  /** The manifest, whose bytes must have that digest. */
  readonly manifest: (repository: string, digest: Digest.Digest) => Effect.Effect<Option.Option<Stored>, UpstreamError>
  /** Whether the repository has this blob; reads nothing of it yet. */
  readonly blob: (
    repository: string,
    digest: Digest.Digest
  ) => Effect.Effect<Option.Option<UpstreamBlob>, UpstreamError>
  readonly tags: (repository: string) => Effect.Effect<Option.Option<ReadonlyArray<string>>, UpstreamError>
  readonly referrers: (
    repository: string,
    subject: Digest.Digest
  ) => Effect.Effect<ReadonlyArray<Referrer>, UpstreamError>
}

/**
 * The registry at `HOST[:PORT]`, or at a URL whose scheme then counts, read by this package's own client with the
 * configuration, the credentials and the HTTP client that are there now: tokens, retries, mirrors and limits are theirs.
 * At Docker Hub `alpine` is `library/alpine`. Fails with `InvalidReference` where the address is none.
 *
 * ```ts
 * const cache = Effect.flatMap(Upstream.fromRegistry("docker.io"), (upstream) => EmbeddedRegistry.make({ root, upstream }))
 * ```
 */
export const fromRegistry = (
  address: string
): Effect.Effect<Upstream, ValidationError, HttpClient.HttpClient | RegistryConfig.RegistryConfig> =>
  Effect.gen(function* () {
    const config = yield* RegistryConfig.RegistryConfig
    const endpoint = yield* RegistryConfig.find(address)
    const plainHttp = endpoint.origin.startsWith("http:")
    const hosts = { ...config.hosts, [endpoint.host]: { ...config.hosts[endpoint.host], plainHttp } }
    // The references with a default count too: credentials, transport, hashes.
    const context = yield* Effect.context<HttpClient.HttpClient | RegistryConfig.RegistryConfig>()
    const settings = { ...config, hosts }
    const reading = <A>(
      repository: string,
      read: (reader: RepositoryReader.RepositoryReader) => Effect.Effect<A, RegistryError | ValidationError>
    ): Effect.Effect<A, UpstreamError> =>
      Effect.flatMap(RepositoryReader.open(endpoint.host, repository), read).pipe(
        Effect.provideService(RegistryConfig.RegistryConfig, settings),
        Effect.provide(context),
        Effect.mapError(failure)
      )
    return {
      url: endpoint.origin,
      resolve: (repository, tag) => reading(repository, ({ resolve }) => resolve(tag)),
      manifest: (repository, digest) =>
        Effect.map(
          reading(repository, ({ manifest }) => manifest(digest)),
          Option.map(({ bytes, mediaType }) => ({ digest, mediaType, bytes, size: bytes.length }))
        ),
      blob: (repository, digest) =>
        Effect.map(
          reading(repository, ({ blob }) => blob(digest)),
          Option.map(({ size, stream }) => ({
            size: Option.getOrUndefined(size),
            stream: Stream.mapError(Stream.provideSomeContext(stream, context), failure)
          }))
        ),
      tags: (repository) => reading(repository, ({ tags }) => tags),
      referrers: (repository, subject) =>
        Effect.map(
          reading(repository, ({ referrers }) => referrers(subject)),
          (all) =>
            all.map(({ annotations, artifactType, digest, mediaType, size }) => ({
              mediaType,
              digest,
              size,
              artifactType,
              annotations: annotations ?? undefined
            }))
        )
    }
  })

// internal

const failure = (error: RegistryError | ValidationError): UpstreamError =>
  new UpstreamError({
    reason: error._tag === "RegistryError" ? (reasons[error.reason] ?? "Unavailable") : "Invalid",
    message: printable(error.message)
  })

const reasons: { readonly [Reason in RegistryError["reason"]]?: UpstreamErrorReason } = {
  Unauthorized: "Refused",
  Denied: "Refused",
  Credentials: "Refused",
  RateLimited: "RateLimited",
  Timeout: "TimedOut",
  DigestMismatch: "Invalid",
  SizeMismatch: "Invalid",
  Protocol: "Invalid",
  TooLarge: "Invalid",
  UnsafeUrl: "Invalid",
  Rejected: "Invalid",
  NotARegistry: "Invalid"
}

/** A registry could draw on whatever shows the log. */
const printable = (text: string): string =>
  text
    .replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (char) => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`)
    .slice(0, 1000)
