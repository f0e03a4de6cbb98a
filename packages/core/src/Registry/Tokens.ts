/** Access tokens, and how each registry wants to be asked; kept in memory for as long as a configuration lives. */
import * as Effect from "effect/Effect"
import type * as Redacted from "effect/Redacted"
import type * as Credentials from "../Credentials.js"
import type * as RegistryConfig from "../RegistryConfig.js"
import type { Challenge } from "./Challenge.js"

/** A token that is good until then, in milliseconds. */
export interface Token {
  readonly value: Redacted.Redacted
  readonly expiresAt: number
}

/** What makes a token one of its own. It is sent to `origin` alone, whichever server gave it. */
export interface Key {
  readonly origin: string
  readonly account: string
  readonly realm: string
  readonly service: string
  readonly scopes: ReadonlyArray<string>
}

export interface Tokens {
  /** How an origin asked for authentication, so that later requests bring it along. */
  readonly challenges: Map<string, Challenge>
  readonly get: (key: Key) => Token | undefined
  readonly set: (key: Key, token: Token) => void
  readonly forget: (key: Key) => void
  /** One at a time for a key: those that wait find the token of the first. */
  readonly turn: (key: Key) => <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
  /** Token servers that know only GET. */
  readonly withoutPost: Set<string>
}

/** A program that goes through thousands of repositories keeps no more tokens than this. */
export const maxTokens = 1000

export const make = (): Tokens => {
  const tokens = new Map<string, Token>()
  const turns = new Map<string, Effect.Semaphore>()
  const text = ({ account, origin, realm, scopes, service }: Key) =>
    JSON.stringify([origin, account, realm, service, scopes])
  return {
    challenges: new Map(),
    withoutPost: new Set(),
    get: (key) => tokens.get(text(key)),
    set: (key, token) => {
      const [oldest] = tokens.keys()
      if (tokens.size >= maxTokens && oldest !== undefined) tokens.delete(oldest)
      tokens.set(text(key), token)
    },
    forget: (key) => void tokens.delete(text(key)),
    turn: (key) => (self) =>
      Effect.suspend(() => {
        const name = text(key)
        const turn = turns.get(name) ?? Effect.unsafeMakeSemaphore(1)
        turns.set(name, turn)
        return Effect.ensuring(
          turn.withPermits(1)(self),
          Effect.sync(() => turns.delete(name))
        )
      })
  }
}

/** Those of a configuration and its credentials: what one program learned is not another's. */
export const of = (config: RegistryConfig.Service, credentials: Credentials.Service): Tokens => {
  const those = all.get(config) ?? new WeakMap<Credentials.Service, Tokens>()
  all.set(config, those)
  const tokens = those.get(credentials) ?? make()
  those.set(credentials, tokens)
  return tokens
}

// internal

const all = new WeakMap<RegistryConfig.Service, WeakMap<Credentials.Service, Tokens>>()
