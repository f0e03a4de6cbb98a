/** Which image of an archive is meant. */

import type { ImageName } from "@effect-registry/core"
import { formatName, type ImageEntry, Reference, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { parseRepositoryTag } from "./RepositoryTag.js"

/** All entries, or the one of the given name or place. Fails with `NoImage`, listing what there is. */
export const choose = (
  archive: string,
  entries: ReadonlyArray<ImageEntry>,
  image: string | number | undefined
): Effect.Effect<ReadonlyArray<ImageEntry>, ValidationError> => {
  if (image === undefined) return Effect.succeed(entries)
  const found =
    typeof image === "number"
      ? entries[image]
      : entries.find((entry) => entry.names.some((name) => isCalled(name, image)) || isDigest(entry, image))
  if (found !== undefined) {
    // What was asked for by a name is moved under that name.
    const names = typeof image === "number" ? found.names : found.names.filter((name) => isCalled(name, image))
    return Effect.succeed([{ ...found, names: names.length > 0 ? names : found.names }])
  }
  const list = entries
    .map((entry, index) => entry.names.map(formatName).join(", ") || `@${index} (untagged)`)
    .join("; ")
  const wanted = typeof image === "number" ? `@${image}` : image
  return Effect.fail(ValidationError.of("NoImage", archive, `holds no image ${wanted}; there is ${list}`))
}

// internal

const isDigest = ({ root }: ImageEntry, image: string): boolean =>
  root._tag !== "Draft" && image.replace(/^@/, "") === root.descriptor.digest

/** Names are compared as docker reads them: `app` is `docker.io/library/app:latest`. */
const isCalled = (name: ImageName, image: string): boolean => {
  if (Option.isNone(name.repository)) return Option.contains(name.tag, image)
  return canonical(name) === canonical(parseRepositoryTag(image)) || Option.contains(name.tag, image)
}

const canonical = ({ repository, tag }: ImageName): string => {
  const text = Option.getOrElse(repository, () => "")
  const path = Either.match(Reference.parse(text), {
    onLeft: () => text,
    onRight: (reference) =>
      `${Option.getOrElse(reference.host, () => Reference.dockerHub)}/${
        Option.isNone(reference.host) ? Reference.hubRepository(reference.repository) : reference.repository
      }`
  })
  return `${path}:${Option.getOrElse(tag, () => "latest")}`
}
