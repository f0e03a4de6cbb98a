/** `ereg delete`: takes tags away, or removes images. */

import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { type DeletedImage, deleteImage, deleteImageByDigest, deleteTag, Reference } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { withoutScheme } from "./address.js"
import * as Exit from "./exit.js"
import type { Page } from "./help.js"
import { argumentList, global } from "./options.js"
import { Output } from "./output.js"
import { perform } from "./perform.js"
import { attemptEach } from "./several.js"

const options = {
  manifest: Options.boolean("manifest").pipe(
    Options.withDescription("Remove the image that the tag names, not the tag alone")
  ),
  force: Options.boolean("force").pipe(
    Options.withDescription("Remove an image without looking whether other tags or indexes name it")
  )
}

export const page: Page = {
  name: "delete",
  summary: "Take a tag away, or remove an image by its digest",
  synopsis: "REF...",
  arguments: [["REF", "REPOSITORY:TAG takes that tag away and nothing else; REPOSITORY@DIGEST removes the image"]],
  options,
  notes: ["All are tried; the exit code is 1 if any failed."],
  examples: [
    ["ereg delete localhost:15000/team/app:nightly", "This tag; every other tag of the image stays"],
    ["ereg delete localhost:15000/team/app@sha256:…", "The image, unless another tag or index names it"],
    ["ereg delete --manifest --force localhost:15000/team/app:1.0", "The image with all its tags"]
  ]
}

export const command = Command.make("delete", { references: argumentList("ref", 1), ...options, global }, (input) => {
  const references = input.references.map(withoutScheme)
  return perform(
    { name: "delete", global: input.global, references },
    Effect.gen(function* () {
      const output = yield* Output
      const shared = input.force ? "delete" : "fail"
      const { done, failed } = yield* attemptEach("delete", references, (reference) => {
        if (hasDigest(reference)) return Effect.map(deleteImageByDigest(reference, { shared }), removed)
        if (input.manifest) return Effect.map(deleteImage(reference, { shared }), removed)
        return Effect.map(
          deleteTag(reference),
          (tag): Deleted => ({ kind: "tag", reference: tag.reference, digest: null })
        )
      })
      if (done.some(({ kind }) => kind === "image")) {
        yield* output.note("the space is freed when the registry collects its garbage")
      }
      yield* output.print(
        done.map(({ reference }) => reference),
        { deleted: done, ...failed.json }
      )
      if (failed.any) yield* Effect.fail(new Exit.Failed({ code: Exit.code.failed }))
    })
  )
})

// internal

const hasDigest = (reference: string): boolean =>
  Either.match(Reference.parse(reference), { onLeft: () => false, onRight: ({ digest }) => Option.isSome(digest) })

interface Deleted {
  readonly kind: "tag" | "image"
  readonly reference: string
  /** `null` for a tag: its image stays. */
  readonly digest: string | null
}

const removed = ({ digest, reference }: DeletedImage): Deleted => ({ kind: "image", reference, digest })
