/** An operating system and architecture, `linux/arm64/v8`. https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md */
import * as Either from "effect/Either"
import * as Schema from "effect/Schema"
import { ValidationError } from "../ValidationError.js"

export const Platform = Schema.Struct({
  os: Schema.String,
  architecture: Schema.String,
  variant: Schema.optional(Schema.String),
  "os.version": Schema.optional(Schema.String),
  "os.features": Schema.optional(Schema.Array(Schema.String))
})
export type Platform = typeof Platform.Type

/** `os/architecture[/variant]`, with the other names that tools use for architectures; else a ValidationError with reason `InvalidPlatform`. */
export const parse = (text: string): Either.Either<Platform, ValidationError> => {
  const parts = text.split("/")
  const [os, architecture, variant] = parts
  if (!os || !architecture || parts.length > 3 || variant === "" || !/^[a-z0-9_./-]+$/.test(text)) {
    return Either.left(
      ValidationError.of("InvalidPlatform", text, "a platform is os/architecture[/variant] in lower case", {
        hint: "for example linux/amd64 or linux/arm/v7"
      })
    )
  }
  const known = alias(architecture) ?? { architecture }
  const named = variant === undefined ? known : { architecture: known.architecture, variant }
  return Either.right({ os: os === "macos" ? "darwin" : os, ...named })
}

export const format = (platform: Platform): string =>
  [platform.os, platform.architecture, platform.variant].filter((part) => part !== undefined && part !== "").join("/")

/** An entry that describes another manifest (an attestation) and runs nowhere. */
export const isUnknown = (platform: Platform): boolean =>
  platform.os === "unknown" && platform.architecture === "unknown"

/** Whether an image for `have` runs where `want` is asked for; see `best` for the order. */
export const matches = (want: Platform, have: Platform): boolean => distance(want, have) !== undefined

/**
 * The entry that serves `want` best, as containerd chooses: arm means arm/v7 and arm64 means arm64/v8; the same variant
 * first, then the next lower one that such a machine runs (arm/v7 runs v6 and v5, amd64/v3 runs v2 and v1).
 */
export const best = <A>(
  want: Platform,
  entries: ReadonlyArray<A>,
  platformOf: (entry: A) => Platform | null | undefined
): A | undefined => {
  let found: { readonly entry: A; readonly distance: number } | undefined
  for (const entry of entries) {
    const have = platformOf(entry)
    const far = have ? distance(want, have) : undefined
    if (far !== undefined && (found === undefined || far < found.distance)) found = { entry, distance: far }
  }
  return found?.entry
}

/** The platform of images that run where this program runs: always Linux, with the machine's architecture as Node names it. */
export const linux = (architecture: string): Platform => ({
  os: "linux",
  // Node calls little-endian POWER ppc64; elsewhere that name means big-endian, which Node does not run on.
  ...(architecture === "ppc64" ? { architecture: "ppc64le" } : (alias(architecture) ?? { architecture }))
})

/** What runs on this machine: Linux with its architecture, amd64 where the platform does not say. */
export const machine = (): Platform => {
  const { process } = globalThis as { readonly process?: { readonly arch?: unknown } }
  return linux(typeof process?.arch === "string" ? process.arch : "amd64")
}

// internal

const aliases: Readonly<Record<string, Pick<Platform, "architecture" | "variant">>> = {
  x64: { architecture: "amd64" },
  x86_64: { architecture: "amd64" },
  "x86-64": { architecture: "amd64" },
  aarch64: { architecture: "arm64" },
  ia32: { architecture: "386" },
  i386: { architecture: "386" },
  armhf: { architecture: "arm", variant: "v7" },
  armel: { architecture: "arm", variant: "v6" }
}

const alias = (name: string) => (Object.hasOwn(aliases, name) ? aliases[name] : undefined)

/** Of the architectures whose variants are steps of one ladder: the lowest step, and the one that no variant means. */
const ladders: Readonly<Record<string, { readonly lowest: number; readonly usual: number }>> = {
  amd64: { lowest: 1, usual: 1 },
  arm: { lowest: 5, usual: 7 },
  arm64: { lowest: 8, usual: 8 }
}

/** How many steps below `want` the image stands, `undefined` where it does not run there. */
const distance = (want: Platform, have: Platform): number | undefined => {
  if (want.os !== have.os || want.architecture !== have.architecture) return undefined
  if (want["os.version"] !== undefined && want["os.version"] !== have["os.version"]) return undefined
  const wanted = step(want)
  const there = step(have)
  if (wanted === undefined || there === undefined) return (want.variant ?? "") === (have.variant ?? "") ? 0 : undefined
  return there <= wanted ? wanted - there : undefined
}

/** The variant as a number, `undefined` for one that is on no ladder. */
const step = ({ architecture, variant }: Platform): number | undefined => {
  const ladder = Object.hasOwn(ladders, architecture) ? ladders[architecture] : undefined
  if (ladder === undefined) return undefined
  if (variant === undefined || variant === "") return ladder.usual
  const number = /^v?([0-9]+)$/.exec(variant)?.[1]
  return number === undefined || Number(number) < ladder.lowest ? undefined : Number(number)
}
