/** `ereg copy`: from any address to any other. */

import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { copy, formatName, push } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import { isStandard, parse, source, tagsOf, withoutScheme, withTarget } from "./address.js"
import type { Page } from "./help.js"
import { argument, global, requireHosts } from "./options.js"
import { Output } from "./output.js"
import { perform } from "./perform.js"
import * as Transfer from "./transfer.js"

const options = {
  force: Options.boolean("force").pipe(Options.withDescription("Replace a file that exists")),
  strict: Transfer.strict,
  ...Transfer.options
}

export const page: Page = {
  name: "copy",
  summary: "Copy an image from one address to another",
  synopsis: "FROM TO",
  arguments: [
    ["FROM", "A reference, or an archive as for push"],
    ["TO", "A reference, or an archive as for pull; without a tag it gets that of FROM"]
  ],
  options,
  notes: [
    "An image for several platforms is copied whole, unless --platform says otherwise.",
    "Digests never change, unless --compress or --format ask for another form.",
    "Where the tag of TO names the image already, --referrers compares what refers to the image itself, and nothing deeper:",
    "--force-recursive looks at everything.",
    "From registry to registry nothing is written to the disk; inside one registry blobs are mounted, not sent.",
    "--plain-http and --insecure-skip-tls-verify have to name their host here: --plain-http=HOST.",
    "Interrupted, it goes on where it stopped when it is run again."
  ],
  examples: [
    ["ereg copy localhost:15000/team/app:1.0 localhost:15000/released/app:1.0", "To another repository"],
    ["ereg copy alpine:3.20 localhost:15000/mirror/alpine:3.20", "From Docker Hub to a registry of yours"],
    ["ereg copy registry.example/app:1.0 localhost:15000/app:1.0 --referrers", "With its signatures and SBOMs"],
    ["ereg copy oci:layout localhost:15000/team/app:1.0 --platform linux/amd64", "One platform of a layout"]
  ]
}

export const command = Command.make(
  "copy",
  { from: argument("from"), to: argument("to"), ...options, global },
  (input) => {
    const { force, from, global, to } = input
    const engine = { platforms: global.platform, strict: input.strict, ...Transfer.engineOptions(input) }
    const toStdout = isStandard(to)
    return perform(
      { name: "copy", global, done: "copied", carriesBytes: toStdout },
      Effect.gen(function* () {
        yield* requireHosts("copy", global)
        const output = yield* Output
        const origin = yield* source(yield* parse(from), engine.compress ?? "gzip")
        const address = yield* parse(to)
        const tags = yield* tagsOf(address)
        const { images, result } =
          address._tag === "Reference"
            ? yield* Effect.map(push(origin, withoutScheme(to), engine), (result) => ({
                result,
                images: result.images
              }))
            : yield* withTarget(address, { force, platform: global.platform[0], resume: !global.noResume }, (target) =>
                Effect.map(copy(origin, target, { ...engine, tags }), ({ descriptor, names, ...result }) => ({
                  result,
                  images: (names.length === 0 ? [withoutScheme(from).replace(/@.*$/, "")] : names.map(formatName)).map(
                    (name) => ({
                      reference: `${name}@${descriptor.digest}`,
                      digest: descriptor.digest,
                      mediaType: descriptor.mediaType,
                      missingPlatforms: result.missingPlatforms
                    })
                  )
                }))
              )
        yield* Transfer.sayMissing(
          origin.name,
          images.flatMap(({ missingPlatforms }) => missingPlatforms)
        )
        yield* Transfer.sayMoved("copied", result)
        if (toStdout) return yield* Effect.forEach(images, ({ reference }) => output.note(reference), { discard: true })
        yield* output.print(
          images.map(({ reference }) => reference),
          {
            images: images.map(({ digest, mediaType, missingPlatforms, reference }) => ({
              reference,
              digest,
              mediaType,
              missingPlatforms
            })),
            ...Transfer.movedJson(result)
          }
        )
      })
    )
  }
)
