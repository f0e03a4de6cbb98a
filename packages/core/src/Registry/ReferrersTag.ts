/**
 * The list of referrers that clients keep themselves, as an index under a tag, where the registry keeps none.
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-manifests-with-subject
 *
 * Registries have no way to change an index but to replace it, and 2.x of Docker's takes a replacement whatever it
 * replaces. In one process all changes of a list wait for one another. Between processes one may overwrite what another
 * has just added, so a writer looks again when it is done, a while after its last change.
 */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Random from "effect/Random"
import type { Descriptor } from "../model/Descriptor.js"
import type { Digest } from "../model/Digest.js"
import * as ManifestModel from "../model/Manifest.js"
import * as MediaType from "../model/MediaType.js"
import * as Referrer from "../model/Referrer.js"
import type { RegistryError } from "../RegistryError.js"
import { ValidationError } from "../ValidationError.js"
import type * as Client from "./Client.js"
import * as Failure from "./Failure.js"
import * as Manifest from "./Manifest.js"
import { removeTag } from "./RemoveTag.js"
import * as Turns from "./Turns.js"

/** What others may need between reading a list and replacing it, in milliseconds, at the least. */
export const settleTime = 300
/** Looks at a list that others keep replacing without our entries. */
export const maxLooks = 10
/** Others may delete what a list names while it is written. */
const maxAttempts = 5

/**
 * Adds those that are missing, together with what others add at the same time. Fails with a ValidationError where the tag
 * has something else than a list.
 */
export const add = (
  client: Client.Client,
  repository: string,
  subject: Digest,
  referrers: ReadonlyArray<Descriptor>
): Effect.Effect<void, RegistryError | ValidationError> =>
  turns.together(keyOf(client, repository, subject), referrers, (wanted) =>
    Effect.gen(function* () {
      const current = yield* read(client, repository, subject)
      const fresh = missing(current, wanted)
      if (fresh.length > 0) yield* write(client, repository, subject, current, [...entriesOf(current), ...fresh])
    })
  )

/**
 * Looks whether everything that was added is still listed, and adds it again where another process has overwritten it;
 * `settle` is how long that one may take between reading a list and replacing it, in milliseconds. Fails with `Rejected`
 * where that happens again and again.
 */
export const confirm = (
  client: Client.Client,
  repository: string,
  subject: Digest,
  wanted: ReadonlyArray<Descriptor>,
  settle: number
): Effect.Effect<void, RegistryError | ValidationError> =>
  Effect.gen(function* () {
    for (let look = 1; look <= maxLooks; look++) {
      const current = yield* read(client, repository, subject)
      if (missing(current, wanted).length === 0) return
      // At a moment of our own: the other one may look and write again as we do.
      yield* Effect.sleep((yield* Random.next) * settle)
      yield* add(client, repository, subject, wanted)
      yield* Effect.sleep(settle * (1 + (yield* Random.next)))
    }
    const detail = "other clients keep overwriting the list of referrers"
    const hint = "this registry has no referrers API, so one writer at a time is what it can take: try again"
    return yield* Effect.fail(Failure.make(writing(client, repository, subject), "Rejected", { detail, hint }))
  })

/** Takes referrers off the list of their subject, and the list's tag away where none is left. */
export const remove = (
  client: Client.Client,
  repository: string,
  subject: Digest,
  referrers: ReadonlySet<Digest>
): Effect.Effect<void, RegistryError | ValidationError> =>
  turns.alone(
    keyOf(client, repository, subject),
    Effect.gen(function* () {
      const current = yield* read(client, repository, subject)
      if (Option.isNone(current)) return
      const { manifests } = current.value
      const left = manifests.filter(({ digest }) => !referrers.has(digest))
      if (left.length === manifests.length) return
      if (left.length > 0) return yield* write(client, repository, subject, current, left)
      // An empty list says the same as no list, where the tag cannot go.
      yield* Effect.catchTag(removeTag(client, repository, Referrer.fallbackTag(subject)), "RegistryError", (error) =>
        error.reason === "DeleteDisabled" ? write(client, repository, subject, current, []) : Effect.fail(error)
      )
    })
  )

// internal

type Index = ManifestModel.ImageIndex

const read = (
  client: Client.Client,
  repository: string,
  subject: Digest
): Effect.Effect<Option.Option<Index>, RegistryError | ValidationError> => {
  const tag = Referrer.fallbackTag(subject)
  return Manifest.get(client, repository, tag).pipe(
    Effect.flatMap((manifest) => {
      if (manifest.descriptor.mediaType === MediaType.ociIndex && manifest._tag === "Index") {
        return Effect.succeed(Option.some(manifest.value))
      }
      const name = Manifest.subjectOf(client, repository, tag)
      const message = `has the type ${manifest.descriptor.mediaType}, and should be the index of the referrers`
      const hint = "move it to another tag: this one is where referrers are looked for"
      return Effect.fail(ValidationError.of("InvalidManifest", name, message, { hint }))
    }),
    Effect.catchIf(Manifest.isNotFound, () => Effect.succeedNone)
  )
}

const write = (
  client: Client.Client,
  repository: string,
  subject: Digest,
  current: Option.Option<Index>,
  manifests: ReadonlyArray<Descriptor>
): Effect.Effect<void, RegistryError | ValidationError> => {
  // What the last entry's removal left on its way is no list that others have to keep.
  const annotations = Option.match(current, {
    onNone: () => undefined,
    onSome: (index) => (index.manifests.length === 0 ? undefined : (index.annotations ?? undefined))
  })
  const put = (entries: ReadonlyArray<Descriptor>, attempts: number): Effect.Effect<void, RegistryError> => {
    const { bytes, descriptor } = ManifestModel.assembleIndex(MediaType.ociIndex, entries, annotations)
    return Manifest.put(client, repository, Referrer.fallbackTag(subject), descriptor, bytes).pipe(
      Effect.asVoid,
      // docker-registry takes no index that names what is not there, and others forget to take a deleted one off.
      Effect.catchIf(
        (error) => attempts > 1 && error.codes.some(({ code }) => code === "MANIFEST_BLOB_UNKNOWN"),
        (error) =>
          Effect.gen(function* () {
            const there = yield* Effect.filter(
              entries,
              ({ digest }) => Effect.map(Manifest.headReadable(client, repository, digest), Option.isSome),
              { concurrency: client.config.concurrency }
            )
            if (there.length === entries.length) return yield* Effect.fail(error)
            yield* put(there, attempts - 1)
          })
      )
    )
  }
  return put(manifests, maxAttempts)
}

/** Those that are not listed, each once. */
const missing = (current: Option.Option<Index>, wanted: ReadonlyArray<Descriptor>): ReadonlyArray<Descriptor> => {
  const each = new Map(wanted.map((entry) => [entry.digest, entry]))
  for (const { digest } of entriesOf(current)) each.delete(digest)
  return [...each.values()]
}

const entriesOf = (current: Option.Option<Index>): ReadonlyArray<Descriptor> =>
  Option.match(current, { onNone: () => [], onSome: ({ manifests }) => manifests })

const writing = (client: Client.Client, repository: string, subject: Digest): Failure.Subject => {
  const tag = Referrer.fallbackTag(subject)
  return {
    operation: `list a referrer under ${Manifest.subjectOf(client, repository, tag)}`,
    method: "PUT",
    url: `${client.endpoint.origin}/v2/${repository}/manifests/${tag}`
  }
}

/** Of all lists that somebody in this process works on, whatever client they use. */
const turns = Turns.make<Descriptor>()

const keyOf = (client: Client.Client, repository: string, subject: Digest): string =>
  `${client.endpoint.origin}/${repository}@${subject}`
