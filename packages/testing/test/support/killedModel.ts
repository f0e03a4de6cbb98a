/** What a registry that is killed again and again must have: everything it acknowledged, and of the rest all or nothing. */
import { createHash } from "node:crypto"

export const digestOf = (bytes: Uint8Array | string): string =>
  `sha256:${createHash("sha256").update(bytes).digest("hex")}`

/** What a name stands for: a tag for a digest, a blob or manifest for its own digest; `undefined` for nothing. */
export type Value = string | undefined

export type Kind = "blobs" | "manifests" | "tags"

export interface Thing {
  readonly kind: Kind
  readonly repository: string
  /** A digest or a tag. */
  readonly name: string
}

interface State {
  readonly thing: Thing
  /** What it may stand for: one value, and those that requests without an answer would give it. */
  allowed: ReadonlyArray<Value>
}

export interface Model {
  /** Says what a request will do before it is sent; the function it gives is to be called with its answer. */
  readonly expect: (changes: ReadonlyArray<readonly [Thing, Value]>) => (accepted: boolean) => void
  /** Takes over what was found, if it may be so; else says what is wrong. */
  readonly found: (thing: Thing, value: Value) => string | undefined
  readonly all: () => ReadonlyArray<Thing>
  /** What requests were about since this was last called. */
  readonly recent: () => ReadonlyArray<Thing>
}

export const make = (): Model => {
  const states = new Map<string, State>()
  let recent = new Set<State>()
  const of = (thing: Thing) => {
    const key = `${thing.kind} ${thing.repository} ${thing.name}`
    const state = states.get(key) ?? { thing, allowed: [undefined] }
    states.set(key, state)
    return state
  }
  return {
    expect: (changes) => {
      const before = changes.map(([thing, value]) => {
        const state = of(thing)
        recent.add(state)
        const { allowed } = state
        state.allowed = [...new Set([...allowed, value])]
        return allowed
      })
      return (accepted) => {
        for (const [at, [thing, value]] of changes.entries()) {
          of(thing).allowed = accepted ? [value] : (before[at] ?? [])
        }
      }
    },
    found: (thing, value) => {
      const state = of(thing)
      if (!state.allowed.includes(value)) {
        return `${thing.kind} ${thing.repository} ${thing.name} is ${value}, not ${state.allowed.join(" or ")}`
      }
      state.allowed = [value]
      return undefined
    },
    all: () => [...states.values()].map(({ thing }) => thing),
    recent: () => {
      const all = [...recent].map(({ thing }) => thing)
      recent = new Set()
      return all
    }
  }
}
