/** Deleting many tags and manifests of one repository, in the way that its registry can. */
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import type { Digest } from "../model/Digest.js"
import type { Connection } from "../Registry/Connection.js"
import * as Manifest from "../Registry/Manifest.js"
import * as RemoveTag from "../Registry/RemoveTag.js"
import type { RegistryError } from "../RegistryError.js"
import type { ValidationError } from "../ValidationError.js"
import * as Read from "./Read.js"

/** What became of a tag or a manifest. */
export type Outcome =
  | { readonly _tag: "Deleted" }
  /** Somebody else was faster. */
  | { readonly _tag: "Gone" }
  /** The tag names another digest by now, and stays. */
  | { readonly _tag: "Changed"; readonly digest: Digest }
  /** A tag that came or moved since needs the manifest, or what leads to it is still there; or that is so of what a tag is about. */
  | { readonly _tag: "Kept" }
  | { readonly _tag: "Failed"; readonly error: RegistryError | ValidationError }

export interface Removal {
  readonly tag: (tag: string) => Effect.Effect<Outcome>
  readonly manifest: (digest: Digest) => Effect.Effect<Outcome>
}

export const make = (connection: Connection): Effect.Effect<Removal> =>
  Effect.gen(function* () {
    const { client, repository } = connection
    // A registry that deletes by digest only reads all its tags for each deletion, while others would be rewritten.
    const oneAtATime = Effect.unsafeMakeSemaphore(1)
    let byDigestOnly = false
    let disabled: RegistryError | undefined
    const attempt = (
      remove: Effect.Effect<void, RegistryError | ValidationError>,
      isThere: Effect.Effect<boolean>
    ): Effect.Effect<Outcome> =>
      Effect.suspend(() => (disabled === undefined ? remove : Effect.fail(disabled))).pipe(
        Effect.as<Outcome>({ _tag: "Deleted" }),
        Effect.catchAll((error) => {
          if (error.reason === "DeleteDisabled") disabled = error
          const failed: Outcome = { _tag: "Failed", error }
          return error.reason === "NotFound"
            ? Effect.map(isThere, (there): Outcome => (there ? failed : { _tag: "Gone" }))
            : Effect.succeed(failed)
        })
      )
    const removeTag = (tag: string) =>
      Effect.gen(function* () {
        if (!byDigestOnly) {
          const status = yield* Manifest.remove(client, repository, tag, [202, 200, 204, 400, 405])
          if (status !== 400 && status !== 405) return
          byDigestOnly = true
        }
        yield* oneAtATime.withPermits(1)(
          Effect.suspend(() =>
            disabled === undefined ? RemoveTag.removeTag(client, repository, tag) : Effect.fail(disabled)
          )
        )
      })
    return {
      tag: (tag) =>
        attempt(
          removeTag(tag),
          Effect.match(Read.digest(connection, tag), { onFailure: () => true, onSuccess: Option.isSome })
        ),
      manifest: (digest) => attempt(RemoveTag.removeDigest(client, repository, digest), Effect.succeed(false))
    }
  })
