/** `ereg pull`: images of a registry into an archive or a layout folder. */

import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { formatName, pull } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import { archive as archiveAddress, isStandard, tagsOf, withoutScheme, withTarget } from "./address.js"
import { UsageError } from "./exit.js"
import type { Page } from "./help.js"
import { argumentList, global } from "./options.js"
import { Output } from "./output.js"
import { perform } from "./perform.js"
import * as Transfer from "./transfer.js"

const options = {
  force: Options.boolean("force").pipe(Options.withDescription("Replace a file that exists")),
  ...Transfer.options
}

export const page: Page = {
  name: "pull",
  summary: "Pull images into an archive that docker load reads, or an OCI layout",
  synopsis: "REF... ARCHIVE",
  arguments: [
    ["REF", "The images: [HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST]"],
    ["ARCHIVE", "app.tar, app.tar.gz, docker-archive:PATH, oci-archive:PATH, oci:DIR, or - for standard output"]
  ],
  options,
  notes: [
    "An image for several platforms is pulled whole, unless --platform says otherwise.",
    "Digests never change, unless --compress or --format ask for another form.",
    "Interrupted, it goes on where it stopped when it is run again: until then ARCHIVE.ereg-partial is kept.",
    "skopeo finds the images of a layout by name only in OCI's format: --format oci.",
    "The file appears when it is complete. Prints HOST/REPOSITORY:TAG@DIGEST, a line for each image."
  ],
  examples: [
    ["ereg pull localhost:15000/team/app:1.0 app.tar", "One image, for docker load or ereg push"],
    ["ereg pull alpine:3.20 --platform linux/arm64 alpine.tar", "One platform of an image from Docker Hub"],
    ["ereg pull localhost:15000/team/app:1.0 localhost:15000/team/web:2.0 images.tar", "Several images in one file"],
    ["ereg pull localhost:15000/team/app:1.0 - | docker load", "Straight into docker"]
  ]
}

export const command = Command.make("pull", { words: argumentList("archive", 2), ...options, global }, (input) => {
  const references = input.words.slice(0, -1).map(withoutScheme)
  const archive = input.words[input.words.length - 1] ?? ""
  const toStdout = isStandard(archive)
  return perform(
    { name: "pull", global: input.global, references, done: "pulled", carriesBytes: toStdout },
    Effect.gen(function* () {
      const output = yield* Output
      const { force, global } = input
      const address = yield* archiveAddress("pull", archive)
      if ((yield* tagsOf(address)) !== undefined) return yield* Effect.fail(keepsTags)
      const result = yield* withTarget(
        address,
        { force, platform: global.platform[0], resume: !global.noResume },
        (into) => pull(references, into, { platforms: global.platform, ...Transfer.engineOptions(input) })
      )
      const images = result.images.map(({ descriptor, names, reference }) => ({
        reference: `${names[0] === undefined ? reference.replace(/@.*$/, "") : formatName(names[0])}@${descriptor.digest}`,
        digest: descriptor.digest,
        mediaType: descriptor.mediaType
      }))
      yield* Transfer.sayMoved("pulled", result)
      // Standard output holds the archive.
      if (toStdout) yield* Effect.forEach(images, ({ reference }) => output.note(reference), { discard: true })
      else {
        yield* output.note(`wrote ${archive}`)
        yield* output.print(
          images.map(({ reference }) => reference),
          { archive, images, ...Transfer.movedJson(result) }
        )
      }
    })
  )
})

// internal

const keepsTags = new UsageError({
  what: "ereg pull",
  why: "images that are pulled keep their tags",
  hint: "`ereg copy REF oci:DIR:TAG` gives another one"
})
