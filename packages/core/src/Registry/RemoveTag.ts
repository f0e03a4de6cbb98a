/** Taking a tag away and leaving the manifest that it names, also where a registry deletes by digest only. */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import type * as Digest from "../model/Digest.js"
import * as ManifestModel from "../model/Manifest.js"
import * as MediaType from "../model/MediaType.js"
import type { RegistryError } from "../RegistryError.js"
import type { ValidationError } from "../ValidationError.js"
import * as Client from "./Client.js"
import * as Failure from "./Failure.js"
import * as Manifest from "./Manifest.js"

/**
 * Takes the tag away. Where the registry cannot do that (docker-registry 2.8), the tag is moved to an empty index made for
 * the purpose, and that one is deleted by its digest. Fails with `NotFound`, or `DeleteDisabled`, which leaves the tag
 * untouched.
 */
export const removeTag = (
  client: Client.Client,
  repository: string,
  tag: string
): Effect.Effect<void, RegistryError | ValidationError> =>
  Effect.gen(function* () {
    const status = yield* Manifest.remove(client, repository, tag, [202, 200, 204, 400, 405])
    if (status === 400 || status === 405) yield* byThrowaway(client, repository, tag)
  })

/** Deletes a manifest with all its tags. Fails with `NotFound`, or `DeleteDisabled`. */
export const removeDigest = (
  client: Client.Client,
  repository: string,
  digest: Digest.Digest
): Effect.Effect<void, RegistryError> =>
  Manifest.remove(client, repository, digest, [202, 200, 204, 405]).pipe(
    Effect.flatMap((status) => (status === 405 ? Effect.fail(disabled(client, repository, digest)) : Effect.void)),
    Effect.mapError((error) =>
      // The specification allows both, and 400 may also mean that this manifest cannot go.
      error.status === 400 && error.codes.some(({ code }) => code === "UNSUPPORTED")
        ? disabled(client, repository, digest)
        : error
    )
  )

/** Fails with `DeleteDisabled` where the registry deletes nothing by digest; changes nothing. */
export const probe = (
  client: Client.Client,
  repository: string,
  identifier: string
): Effect.Effect<void, RegistryError> =>
  Effect.gen(function* () {
    const { digest } = makeThrowaway(identifier, undefined).descriptor
    const status = yield* Manifest.remove(client, repository, digest, [202, 404, 405, 400])
    if (status === 405) return yield* Effect.fail(disabled(client, repository, identifier))
  })

/** What errors of a deletion tell. */
export const deletion = (client: Client.Client, repository: string, identifier: string): Failure.Subject => ({
  operation: `delete ${Manifest.subjectOf(client, repository, identifier)}`,
  method: "DELETE",
  url: Client.urlOf(client, `${repository}/manifests/${identifier}`)
})

/** Whether this is what a deletion puts under a tag on its way: a tag that is about to go. */
export const isThrowaway = (manifest: ManifestModel.Manifest): boolean => Schema.is(Throwaway)(manifest.value)

/** Goes on where we are interrupted. In a fiber of its own, because the time limits inside need interruption to work. */
export const toTheEnd = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.uninterruptible(Effect.flatMap(Effect.forkDaemon(Effect.interruptible(effect)), Fiber.join))

// internal

const disabled = (client: Client.Client, repository: string, identifier: string): RegistryError =>
  Failure.make(deletion(client, repository, identifier), "DeleteDisabled", {
    status: 405,
    hint: "docker-registry deletes with REGISTRY_STORAGE_DELETE_ENABLED=true, or storage.delete.enabled in its config"
  })

const throwawayKey = "io.github.effect-registry.deleted-tag"
/** What the tag named before, for the case that the deletion is cut short and cannot be finished. */
const beforeKey = "io.github.effect-registry.deleted-tag.digest"

/** An index without images, never the same twice: deleting its digest takes along the one tag it got. */
const makeThrowaway = (tag: string, before: Digest.Digest | undefined): ManifestModel.Manifest => {
  const random = globalThis.crypto.getRandomValues(new Uint8Array(16))
  const unique = [...random].map((byte) => byte.toString(16).padStart(2, "0")).join("")
  return ManifestModel.assembleIndex(MediaType.ociIndex, [], {
    [throwawayKey]: `${tag} ${unique}`,
    ...(before === undefined ? {} : { [beforeKey]: before })
  })
}

const Throwaway = Schema.Struct({
  manifests: Schema.Tuple(),
  annotations: Schema.Struct({ [throwawayKey]: Schema.String })
})

/** Nothing is done to the tag before a deletion was seen to work. */
const byThrowaway = (
  client: Client.Client,
  repository: string,
  tag: string
): Effect.Effect<void, RegistryError | ValidationError> =>
  Effect.gen(function* () {
    const before = yield* Manifest.get(client, repository, tag)
    if (isThrowaway(before)) return yield* finish(client, repository, tag, before)

    // A digest that is not there: says 405 where deleting is off, and nothing has been written yet.
    yield* probe(client, repository, tag)
    const trial = makeThrowaway(tag, undefined)
    yield* Manifest.put(client, repository, trial.descriptor.digest, trial.descriptor, trial.bytes)
    yield* removeDigest(client, repository, trial.descriptor.digest)

    const now = yield* Manifest.head(client, repository, tag)
    if (!Option.exists(now, ({ digest }) => digest === before.descriptor.digest)) {
      const detail = "the tag was moved by somebody else in the meantime"
      return yield* Effect.fail(Failure.make(deletion(client, repository, tag), "Rejected", { detail }))
    }
    const last = makeThrowaway(tag, before.descriptor.digest)
    const restore = Manifest.put(client, repository, tag, before.descriptor, before.bytes)
    yield* Manifest.put(client, repository, tag, last.descriptor, last.bytes).pipe(
      Effect.zipRight(removeDigest(client, repository, last.descriptor.digest)),
      // The tag is put back as it was; the error that led here is the one to tell.
      Effect.tapError((error) => (isGone(error) ? Effect.void : Effect.catchAll(restore, () => Effect.void))),
      // Somebody else who met the throwaway has finished.
      Effect.catchIf(isGone, () => Effect.void),
      toTheEnd
    )
  })

const isGone = (error: RegistryError): boolean => error.reason === "NotFound" && error.method === "DELETE"

/** Left by a run that was killed before its last step. Where deleting is off by now, the tag gets back what it named. */
const finish = (
  client: Client.Client,
  repository: string,
  tag: string,
  throwaway: ManifestModel.Manifest
): Effect.Effect<void, RegistryError | ValidationError> =>
  removeDigest(client, repository, throwaway.descriptor.digest).pipe(
    Effect.tapError((error) =>
      error.reason === "DeleteDisabled" ? putBack(client, repository, tag, throwaway) : Effect.void
    ),
    Effect.catchIf(isGone, () => Effect.void)
  )

const putBack = (
  client: Client.Client,
  repository: string,
  tag: string,
  throwaway: ManifestModel.Manifest
): Effect.Effect<void> => {
  const before = throwaway.value.annotations?.[beforeKey]
  if (before === undefined) return Effect.void
  return Manifest.get(client, repository, before).pipe(
    Effect.flatMap(({ bytes, descriptor }) => Manifest.put(client, repository, tag, descriptor, bytes)),
    // What cannot be put back stays as it is; that deleting is off is the error to tell.
    Effect.catchAll(() => Effect.void)
  )
}
