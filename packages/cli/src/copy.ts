/** `ereg copy`: from any address to any other. */

import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { copy, formatName, push } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import { isStandard, parse, source, tagsOf, withoutScheme, withTarget } from "./address.js"
import { everyHost } from "./argv.js"
import { UsageError } from "./exit.js"
import type { Page } from "./help.js"
import { argument, global } from "./options.js"
import { Output } from "./output.js"
import { perform } from "./perform.js"
import { blobsJson, sayBlobs } from "./summary.js"

const options = {
  force: Options.boolean("force").pipe(Options.withDescription("Replace a file that exists"))
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
    "An image for several platforms is copied whole, unless --platform says otherwise. Digests never change.",
    "Inside one registry blobs are mounted, not sent.",
    "--plain-http and --insecure-skip-tls-verify have to name their host here: --plain-http=HOST.",
    "Interrupted, it goes on where it stopped when it is run again."
  ],
  examples: [
    ["ereg copy localhost:15000/team/app:1.0 localhost:15000/released/app:1.0", "To another repository"],
    ["ereg copy alpine:3.20 localhost:15000/mirror/alpine:3.20", "From Docker Hub to a registry of yours"],
    ["ereg copy oci:layout localhost:15000/team/app:1.0 --platform linux/amd64", "One platform of a layout"]
  ]
}

export const command = Command.make(
  "copy",
  { from: argument("from"), to: argument("to"), ...options, global },
  (input) => {
    const { force, from, global, to } = input
    const platforms = global.platform
    const toStdout = isStandard(to)
    return perform(
      { name: "copy", global, done: "copied", carriesBytes: toStdout },
      Effect.gen(function* () {
        yield* checkHosts("--plain-http", global.plainHttp)
        yield* checkHosts("--insecure-skip-tls-verify", global.insecureSkipTlsVerify)
        const output = yield* Output
        const origin = yield* source(yield* parse(from))
        const address = yield* parse(to)
        const tags = yield* tagsOf(address)
        const { blobs, images } =
          address._tag === "Reference"
            ? yield* push(origin, withoutScheme(to), { platforms })
            : yield* withTarget(address, { force, platform: platforms[0], resume: !global.noResume }, (target) =>
                Effect.map(copy(origin, target, { platforms, tags }), ({ blobs, descriptor, names }) => ({
                  blobs,
                  images: (names.length === 0 ? [withoutScheme(from).replace(/@.*$/, "")] : names.map(formatName)).map(
                    (name) => ({
                      reference: `${name}@${descriptor.digest}`,
                      digest: descriptor.digest,
                      mediaType: descriptor.mediaType
                    })
                  )
                }))
              )
        yield* sayBlobs("copied", blobs)
        if (toStdout) return yield* Effect.forEach(images, ({ reference }) => output.note(reference), { discard: true })
        yield* output.print(
          images.map(({ reference }) => reference),
          {
            images: images.map(({ digest, mediaType, reference }) => ({ reference, digest, mediaType })),
            blobs: blobsJson(blobs)
          }
        )
      })
    )
  }
)

// internal

const checkHosts = (option: string, hosts: ReadonlyArray<string>): Effect.Effect<void, UsageError> =>
  hosts.includes(everyHost)
    ? Effect.fail(
        new UsageError({
          what: "ereg copy",
          why: `${option} does not say which registry it means`,
          hint: `${option}=HOST[:PORT]`
        })
      )
    : Effect.void
