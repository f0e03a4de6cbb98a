/** `ereg delete`: takes tags away, or removes images. */

import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import {
  type DeletedImage,
  type DeleteImageOptions,
  deleteImage,
  deleteImageByDigest,
  deleteTag,
  Reference,
  ValidationError
} from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { withoutScheme } from "./address.js"
import * as Exit from "./exit.js"
import type { Page } from "./help.js"
import { argumentList, global } from "./options.js"
import { count, Output } from "./output.js"
import { perform } from "./perform.js"
import * as Retention from "./retention.js"
import { attemptEach } from "./several.js"

const options = {
  manifest: Options.boolean("manifest").pipe(
    Options.withDescription("Remove the image that the tag names, not the tag alone")
  ),
  force: Options.boolean("force").pipe(
    Options.withDescription("Remove an image without looking whether other tags or indexes name it")
  ),
  referrers: Options.boolean("referrers").pipe(
    Options.withDescription(
      "With an image (--manifest or REPOSITORY@DIGEST), also remove its signatures, SBOMs and the like"
    )
  ),
  ...Retention.options
}

export const page: Page = {
  name: "delete",
  summary: "Take a tag away, or remove an image by its digest",
  synopsis: "REF...",
  arguments: [
    [
      "REF",
      "REPOSITORY:TAG takes that tag away and nothing else; REPOSITORY@DIGEST removes the image and the tag that names it, unless several tags or an index name it; REPOSITORY with --match and the like"
    ]
  ],
  options,
  notes: [
    "All are tried; the exit code is 1 if any failed.",
    "",
    "An image that one tag names goes with that tag. Where several tags, or an index, name it, REPOSITORY@DIGEST is refused;",
    "--manifest REPOSITORY:TAG is refused where anything but that tag names it. --force does not look.",
    "",
    ...Retention.notes
  ],
  examples: [
    ["ereg delete localhost:15000/team/app:nightly", "This tag; every other tag of the image stays"],
    ["ereg delete localhost:15000/team/app@sha256:…", "The image and its tag, unless several tags or an index name it"],
    [
      "ereg delete --manifest --force --referrers localhost:15000/team/app:1.0",
      "The image, all its tags and signatures"
    ],
    ...Retention.examples
  ]
}

export const command = Command.make("delete", { references: argumentList("ref", 1), ...options, global }, (input) => {
  const references = input.references.map(withoutScheme)
  return perform(
    { name: "delete", global: input.global, references },
    Effect.gen(function* () {
      yield* checkOptions(input, references)
      if (Retention.isWanted(input)) return yield* Retention.run(input, references)
      const output = yield* Output
      const how: DeleteImageOptions = { shared: input.force ? "delete" : "fail", referrers: input.referrers }
      const { done, failed } = yield* attemptEach("delete", references, (reference) => {
        if (hasDigest(reference)) return Effect.flatMap(deleteImageByDigest(reference, how), removed)
        // Nobody who wrote no tag chose `latest`.
        if (!hasTag(reference)) return Effect.fail(noTag(reference))
        if (input.manifest) return Effect.flatMap(deleteImage(reference, how), removed)
        return Effect.map(
          deleteTag(reference),
          (tag): Deleted => ({ kind: "tag", reference: tag.reference, digest: null, referrers: [], leftReferrers: [] })
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

interface Chosen extends Retention.Input {
  readonly force: boolean
  readonly referrers: boolean
}

/** Options that would have no effect: whoever writes them expects one. */
const checkOptions = (input: Chosen, references: ReadonlyArray<string>): Effect.Effect<void, Exit.UsageError> => {
  const fail = (why: string, hint: string) => Effect.fail(new Exit.UsageError({ what: "ereg delete", why, hint }))
  if (Retention.isWanted(input)) {
    if (input.referrers) {
      return fail(
        "--referrers does not go with rules such as --match",
        "--manifest: the images go, and their referrers too"
      )
    }
    if (input.force) {
      const hint = "leave it out; --yes answers the question, and with --manifest an image goes that no other tag needs"
      return fail("--force does not go with rules such as --match", hint)
    }
    return Effect.void
  }
  const tagged = references.find((reference) => hasTag(reference) && !hasDigest(reference))
  return input.referrers && !input.manifest && tagged !== undefined
    ? fail(
        `--referrers: ${tagged} takes the tag away, and leaves the image with its referrers`,
        "--manifest --referrers removes the image of a tag with its referrers"
      )
    : Effect.void
}

const hasDigest = (reference: string): boolean =>
  Either.match(Reference.parse(reference), { onLeft: () => false, onRight: ({ digest }) => Option.isSome(digest) })

/** What cannot be parsed is for the verb to refuse. */
const hasTag = (reference: string): boolean =>
  Either.match(Reference.parse(reference), { onLeft: () => true, onRight: ({ tag }) => Option.isSome(tag) })

const noTag = (name: string): ValidationError =>
  ValidationError.of("NoTag", name, "names neither a tag nor a digest", {
    hint: `${name}:TAG takes a tag away; ${name}@DIGEST, or --manifest ${name}:TAG, removes an image; --match, --older-than and --keep-last choose among the tags`
  })

interface Deleted {
  readonly kind: "tag" | "image"
  readonly reference: string
  /** `null` for a tag: its image stays. */
  readonly digest: string | null
  /** Digests of what referred to it: gone with it, and left behind. */
  readonly referrers: ReadonlyArray<string>
  readonly leftReferrers: ReadonlyArray<string>
}

/** An image that is gone, with a word about what still refers to it. */
const removed = (image: DeletedImage): Effect.Effect<Deleted, never, Output> =>
  Effect.gen(function* () {
    const output = yield* Output
    const left = image.leftReferrers
    if (left.length > 0) {
      const list = left.slice(0, 5).map(({ artifactType, digest }) => `${digest} (${artifactType ?? "no type"})`)
      const more = left.length > list.length ? ` and ${left.length - list.length} more` : ""
      const hint = "--referrers would have removed them too"
      yield* output.warn(
        `${count(left.length, "referrer")} of ${image.reference} left behind: ${list.join(", ")}${more}; ${hint}`
      )
    }
    return {
      kind: "image",
      reference: image.reference,
      digest: image.digest,
      referrers: image.deletedReferrers,
      leftReferrers: left.map(({ digest }) => digest)
    }
  })
