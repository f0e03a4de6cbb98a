/** Renaming by rules, forwards and, where that can be told, backwards. */
import * as Either from "effect/Either"
import { RE2JS } from "re2js"
import * as Pattern from "../model/Pattern.js"
import type { RenameRule } from "./Config.js"

export interface Rename {
  /** The name after all rules, each applied to what the one before made of it. */
  readonly apply: (name: string) => string
  /**
   * Names that `apply` turns into this one, as far as they can be told. A rule can be undone where it is a fixed text, at
   * an end or as a whole, or one group between fixed texts with `^` and `$` around; of others only the names that they
   * leave alone are found.
   */
  readonly sources: (renamed: string) => ReadonlyArray<string>
  /** Whether `sources` has all of them: false where a rule that cannot be undone may have made the name. */
  readonly isComplete: (renamed: string) => boolean
}

/** Compiles the rules; else which of them is wrong, and why. */
export const compile = (
  rules: ReadonlyArray<RenameRule>
): Either.Either<Rename, { readonly index: number; readonly field: "match" | "to"; readonly message: string }> =>
  Either.gen(function* () {
    const compiled: Array<Rule> = []
    for (const [index, rule] of rules.entries()) {
      compiled.push(yield* Either.mapLeft(compileRule(rule), (wrong) => ({ index, ...wrong })))
    }
    const apply = (name: string) => compiled.reduce((text, rule) => rule.apply(text), name)
    const backwards = [...compiled].reverse()
    const trace = (renamed: string) => {
      let names: ReadonlyArray<string> = [renamed]
      let complete = true
      for (const { mayMake, undo } of backwards) {
        const before = [...new Set(names.flatMap((text) => [text, ...undo(text)]))]
        complete &&= before.length <= maxCandidates && !names.some(mayMake)
        names = before.slice(0, maxCandidates)
      }
      return { names, complete }
    }
    return {
      apply,
      sources: (renamed) => trace(renamed).names.filter((name) => apply(name) === renamed),
      isComplete: (renamed) => trace(renamed).complete
    }
  })

// internal

/** Each rule can double them. */
const maxCandidates = 64

interface Rule {
  readonly apply: (text: string) => string
  /** What may have been before; to be checked. */
  readonly undo: (text: string) => ReadonlyArray<string>
  /** Whether the rule, as one that cannot be undone, may have made the text of another. */
  readonly mayMake: (text: string) => boolean
}

const compileRule = ({ match, to }: RenameRule) =>
  Either.gen(function* () {
    // Says in the same words as a filter what is wrong with it, and bounds its length.
    yield* Either.mapLeft(Pattern.compile(match), (message) => ({ field: "match" as const, message }))
    const expression = RE2JS.compile(match)
    const wanted = Math.max(
      0,
      ...[...to.matchAll(/\$(\$|\d+)/g)].map(([, group]) => (group === "$" ? 0 : Number(group)))
    )
    if (wanted > expression.groupCount()) {
      const message = `$${wanted} is no group of ${JSON.stringify(match)}, which has ${expression.groupCount()}`
      return yield* Either.left({ field: "to" as const, message })
    }
    if (/\$(?!\$|\d)/.test(to.replaceAll("$$", ""))) {
      return yield* Either.left({
        field: "to" as const,
        message: "a $ is followed by the number of a group, or by another $"
      })
    }
    const undo = undoing(match, to)
    const rule: Rule = {
      apply: (text) => expression.matcher(text).replaceFirst(to),
      undo: undo ?? (() => []),
      mayMake: undo === undefined ? having(to) : () => false
    }
    return rule
  })

const literal = /^(?:[A-Za-z0-9_/-]|\\[.+-])*$/
const unescape = (text: string): string => text.replace(/\\(.)/g, "$1")

/** Whether a text has the fixed parts of `to` in their order, as everything has that the rule makes. */
const having = (to: string): Rule["mayMake"] => {
  const parts = to.split(/\$(?!\$)\d*|\$\$/)
  return (text) => {
    let at = 0
    for (const part of parts) {
      const found = text.indexOf(part, at)
      if (found < 0) return false
      at = found + part.length
    }
    return true
  }
}

/** How a rule of one of the simple forms is undone; `undefined` for all others. */
const undoing = (match: string, to: string): Rule["undo"] | undefined => {
  const [, start, before = "", group, after = "", end] = /^(\^?)([^()$]*)(\([^()]*\))?([^()$]*)(\$?)$/.exec(match) ?? []
  const isSimple = start !== undefined && literal.test(before) && literal.test(after)
  const parts = to.split("$1")
  if (!isSimple || parts.some((part) => part.includes("$"))) return undefined
  if (group !== undefined) {
    const [prefix = "", suffix = ""] = parts
    if (parts.length !== 2 || start === "" || end === "") return undefined
    return (text) => {
      const inner = between(text, prefix, suffix)
      return inner === undefined ? [] : [unescape(before) + inner + unescape(after)]
    }
  }
  const fixed = unescape(before + after)
  if (parts.length !== 1 || (start === "" && end === "")) return undefined
  if (start !== "" && end !== "") return (text) => (text === to ? [fixed] : [])
  return start !== ""
    ? (text) => (text.startsWith(to) ? [fixed + text.slice(to.length)] : [])
    : (text) => (text.endsWith(to) ? [text.slice(0, text.length - to.length) + fixed] : [])
}

const between = (text: string, prefix: string, suffix: string): string | undefined =>
  text.length >= prefix.length + suffix.length && text.startsWith(prefix) && text.endsWith(suffix)
    ? text.slice(prefix.length, text.length - suffix.length)
    : undefined
