/** Which image of an archive is meant. */

import type { ImageName } from "@effect-registry/core"
import { formatEntries, type ImageEntry, Reference, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"
import { parseRepositoryTag } from "./RepositoryTag.js"

/**
 * All entries, or the one of the given place, name, tag or digest; a whole name goes before a tag of the same letters.
 * Fails with `NoImage` or, where it fits several, `SeveralImages`, listing what there is.
 */
export const choose = (
  archive: string,
  entries: ReadonlyArray<ImageEntry>,
  image: string | number | undefined
): Effect.Effect<ReadonlyArray<ImageEntry>, ValidationError> => {
  if (image === undefined) return Effect.succeed(entries)
  const fits = typeof image === "number" ? () => true : fitting(entries, image)
  const found = typeof image === "number" ? entries.slice(image, image + 1) : entries.filter(fits)
  const [only, ...others] = found
  if (only !== undefined && others.length === 0) {
    // What was asked for by a name is moved under that name.
    const names = only.names.filter((name) => fits({ ...only, names: [name] }))
    return Effect.succeed([{ ...only, names: names.length > 0 ? names : only.names }])
  }
  const list = formatEntries(entries)
  const wanted = typeof image === "number" ? `@${image}` : image
  if (others.length > 0) {
    const message = `holds ${found.length} images ${wanted}; there is ${list}`
    const hint = "choose one by its whole name, or by its place: @0 is the first"
    return Effect.fail(ValidationError.of("SeveralImages", archive, message, { hint }))
  }
  return Effect.fail(ValidationError.of("NoImage", archive, `holds no image ${wanted}; there is ${list}`))
}

/** Whether both are one name, as docker reads them: `app` is `docker.io/library/app:latest`. */
export const isSameName = (a: ImageName, b: ImageName): boolean => canonical(a) === canonical(b)

// internal

const isDigest = ({ root }: ImageEntry, image: string): boolean =>
  root._tag !== "Draft" && image.replace(/^@/, "") === root.descriptor.digest

/** What tells the wanted entries: their whole name where one has it, else a tag of theirs or their digest. */
const fitting = (entries: ReadonlyArray<ImageEntry>, image: string): ((entry: ImageEntry) => boolean) => {
  const isNamed = (entry: ImageEntry) => entry.names.some((name) => isCalled(name, image))
  if (entries.some(isNamed)) return isNamed
  return (entry) => entry.names.some(({ tag }) => Option.contains(tag, image)) || isDigest(entry, image)
}

const isCalled = (name: ImageName, image: string): boolean =>
  Option.isNone(name.repository) ? Option.contains(name.tag, image) : isSameName(name, parseRepositoryTag(image))

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
