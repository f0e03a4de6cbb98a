/** `ereg push`: an archive to a registry. */

import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { push } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { archive, source, withoutScheme } from "./address.js"
import type { Page } from "./help.js"
import { argument, argumentList, choice, global } from "./options.js"
import { Output } from "./output.js"
import { perform } from "./perform.js"
import { blobsJson, sayBlobs } from "./summary.js"

const options = {
  tag: Options.text("tag").pipe(
    Options.withPseudoName("TAG"),
    Options.withDescription("Without REF: this tag in place of those of the archive"),
    Options.optional
  ),
  primary: Options.boolean("primary").pipe(Options.withDescription("Without REF: the first tag of the archive only")),
  originalHosts: Options.boolean("original-hosts").pipe(
    Options.withDescription("Without REF: each tag to the host that it names")
  ),
  strict: Options.boolean("strict").pipe(
    Options.withDescription("Fail where the archive lacks platforms that its index lists")
  ),
  compress: choice("compress", ["gzip", "none"], "What happens to uncompressed layers"),
  format: choice("format", ["docker", "oci"], "The format of a manifest that has to be made")
}

export const page: Page = {
  name: "push",
  summary: "Push an archive to a registry",
  synopsis: "ARCHIVE [REF...]",
  arguments: [
    [
      "ARCHIVE",
      "app.tar, docker-archive:PATH[:REF|:@INDEX], oci:DIR[:REF], oci-archive:PATH[:REF], or - for standard input"
    ],
    [
      "REF",
      "Where to: [HOST[:PORT]/]REPOSITORY[:TAG]. Without one, every tag of the archive to the configured registry"
    ]
  ],
  options,
  notes: [
    "With REF the archive must hold one image, or ARCHIVE has to name one of them.",
    "Interrupted, it goes on where it stopped when it is run again.",
    "Prints HOST/REPOSITORY:TAG@DIGEST, a line for each tag."
  ],
  examples: [
    ["ereg push app.tar localhost:15000/team/app:1.0", "One image under one name"],
    ["ereg push images.tar --registry http://localhost:15000", "Every image and tag of a docker save archive"],
    ["docker save app:1.0 | ereg push - localhost:15000/team/app:1.0", "Straight from docker"]
  ]
}

export const command = Command.make(
  "push",
  { archive: argument("archive"), references: argumentList("ref", 0), ...options, global },
  (input) => {
    const references = input.references.map(withoutScheme)
    return perform(
      { name: "push", global: input.global, references, done: "pushed" },
      Effect.gen(function* () {
        const output = yield* Output
        const from = yield* source(yield* archive("push", input.archive))
        const result = yield* push(from, references, {
          platforms: input.global.platform,
          compress: input.compress,
          format: input.format,
          strict: input.strict,
          primary: input.primary,
          originalHosts: input.originalHosts,
          tag: Option.getOrUndefined(input.tag)
        })
        const missing = new Set(result.images.flatMap(({ missingPlatforms }) => missingPlatforms))
        if (missing.size > 0) {
          yield* output.warn(
            `${from.name} lacks ${[...missing].join(", ")}, which its index lists; --strict refuses this`
          )
        }
        yield* sayBlobs("pushed", result.blobs)
        yield* output.print(
          result.images.map(({ reference }) => reference),
          {
            images: result.images.map((image) => ({ ...image, tag: Option.getOrNull(image.tag) })),
            blobs: blobsJson(result.blobs)
          }
        )
      })
    )
  }
)
