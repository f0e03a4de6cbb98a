/** `ereg push`: an archive to a registry. */

import * as Command from "@effect/cli/Command"
import * as Options from "@effect/cli/Options"
import { pushEach, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { archive, source, withoutScheme } from "./address.js"
import * as Exit from "./exit.js"
import type { Page } from "./help.js"
import { argument, argumentList, global } from "./options.js"
import { Output } from "./output.js"
import { perform } from "./perform.js"
import * as Transfer from "./transfer.js"

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
  strict: Transfer.strict,
  ...Transfer.options
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
    "What has a manifest is pushed byte for byte, unless --compress or --format ask for another form.",
    "Interrupted, it goes on where it stopped when it is run again.",
    "Prints HOST/REPOSITORY:TAG@DIGEST, a line for each tag."
  ],
  examples: [
    ["ereg push app.tar localhost:15000/team/app:1.0", "One image under one name"],
    ["ereg push images.tar --registry http://localhost:15000", "Every image and tag of a docker save archive"],
    ["docker save app:1.0 | ereg push - localhost:15000/team/app:1.0", "Straight from docker"],
    ["ereg push oci:layout localhost:15000/team/app:1.0 --referrers", "With its signatures and SBOMs"]
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
        const compress = Option.getOrElse(input.compress, () => "gzip" as const)
        const from = yield* source(yield* archive("push", input.archive), compress)
        const result = yield* pushEach(from, references, {
          platforms: input.global.platform,
          ...Transfer.engineOptions(input),
          strict: input.strict,
          primary: input.primary,
          originalHosts: input.originalHosts,
          tag: Option.getOrUndefined(input.tag)
        }).pipe(Effect.mapError((error) => withCommand(error, input.archive)))
        const failed = yield* tellFailures(result)
        yield* Transfer.sayMissing(
          from.name,
          result.images.flatMap(({ missingPlatforms }) => missingPlatforms)
        )
        if (result.images.length > 0) yield* Transfer.sayMoved("pushed", result)
        yield* output.print(
          result.images.map(({ reference }) => reference),
          {
            images: result.images.map((image) => ({ ...image, tag: Option.getOrNull(image.tag) })),
            ...Transfer.movedJson(result),
            ...failed
          }
        )
        if (result.failed.length > 0) yield* Effect.fail(new Exit.Failed({ code: Exit.code.failed }))
      })
    )
  }
)

// internal

/** What is missing is a registry, and how it is given with these very words. */
const withCommand = <E>(error: E, archive: string): E | ValidationError =>
  error instanceof ValidationError && error.reason === "NoRegistry"
    ? new ValidationError({ ...error, hint: `ereg push ${archive} --registry http://localhost:15000` })
    : error

/** Each failure as it would be told alone; where nothing was pushed at all, the one there is simply fails. */
const tellFailures = ({ failed, images }: Effect.Effect.Success<ReturnType<typeof pushEach>>) =>
  Effect.gen(function* () {
    const output = yield* Output
    const [first, ...others] = failed.map(({ error, references }) => ({
      argument: references.join(" "),
      error,
      failure: Exit.describe(error, "push")
    }))
    if (first === undefined) return {}
    if (images.length === 0 && others.length === 0) return yield* Effect.fail(first.error)
    const failures = [first, ...others]
    yield* Effect.forEach(failures, ({ failure }) => output.error(failure), { discard: true })
    return {
      failed: failures.map(({ argument, failure }) => ({ argument, ...Exit.toJson(failure) })),
      ...Exit.toJson(first.failure)
    }
  })
