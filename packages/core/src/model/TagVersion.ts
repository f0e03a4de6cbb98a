/** Tags as versions: which are within a range, and which of two is the higher one. */
import * as Either from "effect/Either"
import * as Order from "effect/Order"
import Range from "semver/classes/range.js"
import compareVersions from "semver/functions/compare.js"
import parseVersion from "semver/functions/parse.js"

/**
 * Whether a tag is a version within the range, in npm's syntax or with a comma for a space. A leading v does not count,
 * what is missing is 0 (`3.20` is 3.20.0), leading zeros are allowed (`22.04`), and a lone number of more than five
 * digits is no version but a date or the number of a build. `1.2.3-alpine` is a pre-release of 1.2.3, as semver has it:
 * it is within the range only where that names a pre-release of 1.2.3 too, or with `includePrerelease`. Else what is
 * wrong with the range, in words.
 */
export const within = (range: string, includePrerelease: boolean): Either.Either<(tag: string) => boolean, string> => {
  // An empty range would be every version.
  if (range.trim() === "") return Either.left("the range is empty")
  return Either.try({
    try: () => {
      // Not loose: that would leave out the parts that are wrong.
      const strict = range.replaceAll(",", " ").replace(/(?<![0-9A-Za-z-])0+(?=\d)/g, "")
      const parsed = new Range(strict, { includePrerelease })
      return (tag: string) => {
        const version = parse(tag)
        return version !== undefined && parsed.test(version)
      }
    },
    catch: () => "no range such as >=1.2 <2, 1.x or ^3"
  })
}

/** Digits by their value, everything else by its characters: `build-9` comes before `build-10`. */
export const natural: Order.Order<string> = (a, b) => {
  const left = a.match(/\d+|\D+/g) ?? []
  const right = b.match(/\d+|\D+/g) ?? []
  for (let at = 0; at < Math.min(left.length, right.length); at++) {
    const order = part(left[at] ?? "", right[at] ?? "")
    if (order !== 0) return order
  }
  // Equal but for leading zeros, or one is the beginning of the other.
  return Order.number(left.length, right.length) || Order.string(a, b)
}

/** The highest first: versions by their precedence, then all other tags in natural order. Total, so no two are equal. */
export const highestFirst = (tags: ReadonlyArray<string>): ReadonlyArray<string> =>
  tags
    .map((tag) => ({ tag, version: parse(tag) }))
    .sort((a, b) => {
      if (a.version === undefined || b.version === undefined) {
        if (a.version !== b.version) return a.version === undefined ? 1 : -1
        return natural(b.tag, a.tag)
      }
      return compareVersions(b.version, a.version) || natural(b.tag, a.tag)
    })
    .map(({ tag }) => tag)

// internal

const shape = /^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(-[0-9A-Za-z][0-9A-Za-z.-]*)?$/
const maxLoneDigits = 5

/** `undefined` where the tag names no version. */
const parse = (tag: string) => {
  const [, major, minor, patch, suffix] = shape.exec(tag) ?? []
  if (major === undefined || (minor === undefined && major.length > maxLoneDigits)) return undefined
  const text = [major, minor ?? "0", patch ?? "0"].map((digits) => digits.replace(/^0+(?=\d)/, "")).join(".")
  return parseVersion(`${text}${suffix ?? ""}`, { loose: true }) ?? undefined
}

/** Of any length: numbers would lose digits. */
const part: Order.Order<string> = (a, b) => {
  if (!/^\d/.test(a) || !/^\d/.test(b)) return Order.string(a, b)
  const left = a.replace(/^0+(?=\d)/, "")
  const right = b.replace(/^0+(?=\d)/, "")
  return Order.number(left.length, right.length) || Order.string(left, right)
}
