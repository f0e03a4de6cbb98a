/** What a registry says about how to authenticate. https://www.rfc-editor.org/rfc/rfc9110#name-www-authenticate */
import * as Option from "effect/Option"

/** One way that the registry offers. */
export type Challenge =
  | { readonly _tag: "Basic" }
  /** https://distribution.github.io/distribution/spec/auth/token/ */
  | {
      readonly _tag: "Bearer"
      readonly realm: string
      readonly service: Option.Option<string>
      /** As the registry asks: each `type:name:actions`. */
      readonly scopes: ReadonlyArray<string>
    }

/** A header of any length would be parsed with every refusal. */
export const maxHeader = 16 * 1024

/** The challenges of a WWW-Authenticate header that we can answer, in its order; a header may hold several. */
export const parse = (header: string | undefined): ReadonlyArray<Challenge> =>
  (header === undefined ? [] : schemes(header.slice(0, maxHeader))).flatMap(
    ({ name, parameters }): ReadonlyArray<Challenge> => {
      if (name === "basic") return [{ _tag: "Basic" }]
      const realm = parameters.get("realm")
      if (name !== "bearer" || realm === undefined || realm === "") return []
      const scopes = (parameters.get("scope") ?? "").split(" ").filter((scope) => scope !== "")
      return [{ _tag: "Bearer", realm, service: Option.fromNullable(parameters.get("service")), scopes }]
    }
  )

/** A token is asked for where one can be; a password is sent where nothing else is offered. */
export const choose = (challenges: ReadonlyArray<Challenge>): Option.Option<Challenge> =>
  Option.fromNullable(challenges.find(({ _tag }) => _tag === "Bearer") ?? challenges[0])

// internal

interface Scheme {
  readonly name: string
  readonly parameters: ReadonlyMap<string, string>
}

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
/** `name=value`, or `name="value"` with backslash escapes. */
const parameter = new RegExp(`\\s*(${token})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s,"]*))\\s*(?:,|$)`, "y")
const scheme = new RegExp(`[\\s,]*(${token})(?:\\s+|$|(?=,))`, "y")

const schemes = (header: string): ReadonlyArray<Scheme> => {
  const found: Array<{ readonly name: string; readonly parameters: Map<string, string> }> = []
  let at = 0
  while (at < header.length) {
    parameter.lastIndex = at
    const pair = parameter.exec(header)
    const last = found[found.length - 1]
    if (pair !== null && last !== undefined) {
      const name = (pair[1] ?? "").toLowerCase()
      if (!last.parameters.has(name)) last.parameters.set(name, (pair[2] ?? pair[3] ?? "").replace(/\\(.)/g, "$1"))
      at = parameter.lastIndex
      continue
    }
    scheme.lastIndex = at
    const begun = scheme.exec(header)
    if (begun !== null) {
      found.push({ name: (begun[1] ?? "").toLowerCase(), parameters: new Map() })
      at = scheme.lastIndex
      continue
    }
    // A token68 or something malformed: the next challenge begins behind a comma.
    const comma = header.indexOf(",", at)
    at = comma < 0 ? header.length : comma + 1
  }
  return found
}
