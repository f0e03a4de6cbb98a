/** Manifests, tags and referrers of a cache. */
import { Digest, MediaType } from "@effect-registry/core"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as ManifestDocument from "../ManifestDocument.js"
import { byCodeUnit, type ManifestStore, type Put, partOf, type Referrer, type Stored } from "../ManifestStore.js"
import { digestOf } from "../storage/Hashing.js"
import { type Upstream, UpstreamError } from "../Upstream.js"
import type { Ask } from "./Ask.js"

type Service = Context.Tag.Service<ManifestStore>

export const make = (local: Service, upstream: Upstream, ask: Ask): Service => {
  const digests = ask.shared<Option.Option<Digest.Digest>>()
  const manifests = ask.shared<Option.Option<Stored>>()
  const lists = ask.shared<Option.Option<ReadonlyArray<string>>>()
  const referrers = ask.shared<ReadonlyArray<Referrer>>()

  const store = (repository: string, manifest: Stored, tags: ReadonlyArray<string>) =>
    Effect.flatMap(toPut(manifest, tags), (put) => local.change(repository, (edit) => edit.put(put)))

  /** From the other registry, whatever is here; with the tag that led to it. */
  const fetch = (repository: string, digest: Digest.Digest, tags: ReadonlyArray<string> = []) =>
    Effect.gen(function* () {
      const found = yield* upstream.manifest(repository, digest)
      if (Option.isNone(found)) return found
      if (digestOf(found.value.bytes, Digest.algorithm(digest)) !== digest) {
        return yield* invalid(`the bytes of the manifest ${digest} have another digest`)
      }
      yield* store(repository, found.value, tags)
      return found
    })

  const read: Service["read"] = (repository, digest) =>
    Effect.flatMap(local.read(repository, digest), (found) =>
      Option.isSome(found)
        ? Effect.succeed(found)
        : manifests(
            `${repository}@${digest}`,
            ask.now(`fetch the manifest ${repository}@${digest}`, fetch(repository, digest))
          )
    )

  /** What the tag names at the other registry, and here from now on. */
  const follow = (repository: string, tag: string, known: Option.Option<Digest.Digest>) =>
    Effect.gen(function* () {
      const named = yield* upstream.resolve(repository, tag)
      if (Option.isNone(named)) {
        if (Option.isSome(known)) yield* local.change(repository, (edit) => edit.untag(tag))
        return named
      }
      if (Option.isSome(known) && known.value === named.value) return named
      const here = yield* local.read(repository, named.value)
      if (Option.isSome(here)) yield* store(repository, here.value, [tag])
      else if (Option.isNone(yield* fetch(repository, named.value, [tag]))) {
        return yield* invalid(`${tag} names ${named.value}, which is not there`)
      }
      return named
    })

  return {
    ...local,

    describe: (repository, digest) =>
      Effect.gen(function* () {
        const found = yield* local.describe(repository, digest)
        return Option.isSome(found) ? found : yield* read(repository, digest)
      }),

    read,

    resolve: (repository, tag) =>
      digests(
        `${repository}:${tag}`,
        Effect.gen(function* () {
          const known = yield* local.resolve(repository, tag)
          const operation = `look for the tag ${repository}:${tag}`
          const question = follow(repository, tag, known)
          return yield* Option.isSome(known) ? ask.orKnown(operation, question, known) : ask.now(operation, question)
        })
      ),

    tags: (repository) =>
      lists(
        repository,
        Effect.gen(function* () {
          const known = yield* local.tags(repository)
          const operation = `list the tags of ${repository}`
          const question = Effect.map(upstream.tags(repository), Option.map(sorted))
          const isKnown = Option.exists(known, (tags) => tags.length > 0)
          return yield* isKnown ? ask.orKnown(operation, question, known) : ask.now(operation, question)
        })
      ),

    referrers: (repository, subject, part) =>
      Effect.map(
        referrers(
          `${repository}@${subject}`,
          Effect.gen(function* () {
            const known = yield* local.referrers(repository, subject)
            const operation = `list the referrers of ${repository}@${subject}`
            const question = Effect.map(upstream.referrers(repository, subject), byDigest)
            // That there are none is not to be said without having asked.
            return yield* known.length > 0 ? ask.orKnown(operation, question, known) : ask.now(operation, question)
          })
        ),
        (all) => partOf(all, part)
      )
  }
}

// internal

const invalid = (message: string) => new UpstreamError({ reason: "Invalid", message })

const sorted = (tags: ReadonlyArray<string>): ReadonlyArray<string> => [...new Set(tags)].sort()

const byDigest = (all: ReadonlyArray<Referrer>) => [...all].sort((a, b) => byCodeUnit(a.digest, b.digest))

/** What the manifest says of others. One that cannot be decoded is kept as it is: its clients may know better. */
const toPut = ({ bytes, digest, mediaType, size }: Stored, tags: ReadonlyArray<string>): Effect.Effect<Put> =>
  ManifestDocument.read(bytes, mediaType === "" ? undefined : mediaType).pipe(
    Effect.map(({ annotations, artifactType, children, mediaType, subject }): Put => {
      const as = { mediaType, digest, size, artifactType, annotations }
      return { digest, mediaType, bytes, tags, children, refersTo: subject && { subject: subject.digest, as } }
    }),
    Effect.orElseSucceed((): Put => {
      const type = mediaType === "" ? MediaType.octetStream : mediaType
      return { digest, mediaType: type, bytes, tags, children: [], refersTo: undefined }
    })
  )
