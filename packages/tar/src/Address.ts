/**
 * What users type where an image is meant: `docker-archive:app.tar:app:1.0`, `oci:layout:1.0`, `oci-archive:app.tar`, a
 * path, `-`, or a reference. One parser for command and library.
 */
import * as FileSystem from "@effect/platform/FileSystem"
import { Reference, ValidationError } from "@effect-registry/core"
import * as Effect from "effect/Effect"
import * as Either from "effect/Either"
import * as Option from "effect/Option"

export type Address =
  | { readonly _tag: "Reference"; readonly reference: Reference.Reference }
  /** A tar read by content: manifest.json makes it a docker-archive, only an index.json an OCI archive. */
  | { readonly _tag: "Archive"; readonly path: string; readonly image: Option.Option<string | number> }
  | { readonly _tag: "OciArchive"; readonly path: string; readonly image: Option.Option<string | number> }
  | { readonly _tag: "OciLayout"; readonly path: string; readonly image: Option.Option<string | number> }
  /** Standard input or output. */
  | { readonly _tag: "Standard" }

/** Whether `text` is a path without a scheme: by how it starts or ends, never by whether it exists. */
export const isPath = (text: string): boolean =>
  /^(?:\/|\.\/|\.\.\/|[A-Za-z]:[\\/])/.test(text) ||
  text === "." ||
  text === ".." ||
  /\.(?:tar|tar\.gz|tgz|tar\.zst)$/.test(text)

/**
 * Parses an address. In `PATH:REF` the path is the longest prefix that exists, else what stands before the first colon;
 * a bare folder with an `oci-layout` file is a layout. Fails with `InvalidReference`, the wrong character named.
 */
export const parse = (text: string): Effect.Effect<Address, ValidationError, FileSystem.FileSystem> =>
  Effect.gen(function* () {
    if (text === "-" || text === "/dev/stdin" || text === "/dev/stdout") return { _tag: "Standard" }
    const scheme = /^(docker-archive|oci-archive|oci|docker):/.exec(text)?.[1]
    if (scheme === "docker") return yield* dockerReference(text)
    if (scheme !== undefined) {
      const { image, path } = yield* split(text, scheme.length + 1)
      const tag = scheme === "oci" ? "OciLayout" : scheme === "oci-archive" ? "OciArchive" : "Archive"
      return { _tag: tag, path, image: yield* selector(text, image) }
    }
    if (isPath(text)) {
      const fs = yield* FileSystem.FileSystem
      const isLayout = yield* Effect.orElseSucceed(fs.exists(`${text}/oci-layout`), () => false)
      return { _tag: isLayout ? "OciLayout" : "Archive", path: text, image: Option.none() }
    }
    return { _tag: "Reference", reference: yield* Reference.parse(text) }
  })

/** The address as it would be typed. */
export const format = (address: Address): string => {
  if (address._tag === "Reference") return Reference.format(address.reference)
  if (address._tag === "Standard") return "-"
  const scheme = { Archive: "docker-archive", OciArchive: "oci-archive", OciLayout: "oci" }[address._tag]
  const image = Option.match(address.image, {
    onNone: () => "",
    onSome: (image) => (typeof image === "number" ? `:@${image}` : `:${image}`)
  })
  return `${scheme}:${address.path}${image}`
}

// internal

const dockerReference = (text: string): Effect.Effect<Address, ValidationError> => {
  const rest = text.replace(/^docker:(?:\/\/)?/, "")
  if (!text.startsWith("docker://")) {
    return Effect.fail(invalid(text, 7, "a reference is written docker://HOST/REPOSITORY or without the scheme"))
  }
  return Either.match(Reference.parse(rest), {
    onLeft: Effect.fail,
    onRight: (reference) => Effect.succeed({ _tag: "Reference", reference } as const)
  })
}

/** Where the path ends and the image begins. */
const split = (text: string, start: number) =>
  Effect.gen(function* () {
    const fs = yield* FileSystem.FileSystem
    const rest = text.slice(start)
    if (rest === "") return yield* Effect.fail(invalid(text, start, "the path is missing"))
    const ends = [rest.length, ...[...rest.matchAll(/:/g)].map(({ index }) => index).reverse()].filter((end) => end > 0)
    for (const end of ends) {
      const path = rest.slice(0, end)
      if (yield* Effect.orElseSucceed(fs.exists(path), () => false)) return { path, image: rest.slice(end + 1) }
    }
    // A drive letter's colon ends no path.
    const colon = rest.indexOf(":", /^[A-Za-z]:[\\/]/.test(rest) ? 2 : 0)
    if (colon === 0) return yield* Effect.fail(invalid(text, start, "the path is missing"))
    return colon < 0 ? { path: rest, image: "" } : { path: rest.slice(0, colon), image: rest.slice(colon + 1) }
  })

const selector = (text: string, image: string): Effect.Effect<Option.Option<string | number>, ValidationError> => {
  if (image === "") return Effect.succeed(Option.none())
  const at = text.length - image.length
  if (/^@\d+$/.test(image)) return Effect.succeed(Option.some(Number(image.slice(1))))
  if (Reference.isTag(image) || image.startsWith("@sha")) return Effect.succeed(Option.some(image))
  return Either.match(Reference.parse(image), {
    onLeft: (error) => Effect.fail(invalid(text, at, error.issues[0]?.message ?? "is no reference")),
    onRight: () => Effect.succeed(Option.some(image))
  })
}

const invalid = (text: string, at: number, rule: string): ValidationError =>
  ValidationError.of("InvalidReference", JSON.stringify(Reference.masked(text)), `character ${at + 1}: ${rule}`)
